// Labelled pictures, by number.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/contents.h"
#include "image/decode.h"
#include "image/image.h"

namespace fewshift {

// All methods may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual size_t size() const = 0;
  virtual int label(size_t index) const = 0;  // a class, from 0
  // What a message calls picture `index`: a path, or file#number.
  virtual std::string name(size_t index) const = 0;
  // The picture, decoded. Throws Error where the file is broken or gone.
  virtual std::shared_ptr<const Image> image(size_t index) const = 0;
  // The same, but perhaps at a smaller scale, if no more is wanted (image/decode.h).
  virtual std::shared_ptr<const Image> image(size_t index, const Wanted&) const { return image(index); }
  // The bytes of its file; none where it is in none of its own. Throws Error likewise.
  virtual std::string file(size_t) const { return {}; }
  // Of the files it was read from.
  virtual Contents contents() const { return {}; }
  // Pictures that lie behind one another and are best read in order, [first, last + 1) each, together all of
  // them; none where any order is as good.
  virtual std::vector<std::pair<size_t, size_t>> runs() const { return {}; }
};

}  // namespace fewshift
