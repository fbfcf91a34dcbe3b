// Pictures sorted into a folder per class.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/picture_table.h"

namespace fewshift {

class ImageFolder : public Dataset {
 public:
  // Paths below `root`, and their labels.
  ImageFolder(std::filesystem::path root, PictureTable pictures, int min_side)
      : root_(std::move(root)), pictures_(std::move(pictures)), min_side_(min_side) {}
  size_t size() const override { return pictures_.size(); }
  int label(size_t index) const override { return pictures_.label(index); }
  std::string name(size_t index) const override { return (root_ / pictures_.name(index)).string(); }
  std::shared_ptr<const Image> image(size_t index) const override;
  std::shared_ptr<const Image> image(size_t index, const Wanted& wanted) const override;
  std::string file(size_t index) const override;
  Contents contents() const override {
    return contents_of(size(), [this](size_t index) { return name(index); });
  }

 private:
  std::filesystem::path root_;
  PictureTable pictures_;
  int min_side_;
};

// Whether its name begins with a dot.
bool is_hidden(const std::filesystem::path& path);

// The class folders in `root`, in byte order; none where there is no such folder. Hidden ones are passed
// over.
std::vector<std::string> list_classes(const std::filesystem::path& root);

// The pictures below root/CLASS for every class, in byte order; a class without a folder has none. A large
// folder is listed once and, as long as nothing in it changes, known from then on (picture_table.h). Throws
// Error: kInvalidArgument for a class folder without a picture where `all_filled`, kNotFound for a root
// without any. Files that are not hidden and no pictures are added to `passed_over`.
std::shared_ptr<const Dataset> open_image_folder(const std::filesystem::path& root,
                                                 const std::vector<std::string>& classes, bool all_filled,
                                                 int min_side, PassedOver& passed_over);

}  // namespace fewshift
