// Tar shards as WebDataset writes them: each picture a member, its label the next one.
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

// A sample is the members that follow each other and are named alike up to the first dot of their last part:
// a picture (then .jpg, .jpeg or .png) and its class as a decimal number (.cls). Others (.json, .seg.png) are
// passed over, and so are names that begin with a dot.
class TarShards : public Dataset {
 public:
  // Reads the headers and the labels of `files`, which lie in `folder`, several at a time; those of a large
  // set are known from then on, as long as the files stay the same (picture_table.h). Throws Error: what
  // list_tar throws; kCorrupt, naming file and sample, for a picture without a label, two of either, or a
  // label that is no number from 0 to 99,999; kNotFound where there is no picture at all.
  TarShards(const std::filesystem::path& folder, const std::string& part,
            std::vector<std::filesystem::path> files, int min_side);
  size_t size() const override { return pictures_.size(); }
  int label(size_t index) const override { return pictures_.label(index); }
  std::string name(size_t index) const override;  // FILE:MEMBER
  std::shared_ptr<const Image> image(size_t index) const override;
  std::shared_ptr<const Image> image(size_t index, const Wanted& wanted) const override;
  std::vector<std::pair<size_t, size_t>> runs() const override { return runs_; }
  std::string file(size_t index) const override;
  Contents contents() const override {
    return contents_of(files_.size(), [this](size_t k) { return files_[k].string(); });
  }
  int classes() const;  // the largest label and 1

 private:
  std::vector<std::filesystem::path> files_;
  PictureTable pictures_;
  std::vector<std::pair<size_t, size_t>> runs_;
  int min_side_;
};

// DIR/PART.tar, or DIR/PART-*.tar, in byte order.
std::vector<std::filesystem::path> find_shards(const std::filesystem::path& folder, const std::string& part);

}  // namespace fewshift
