// The binary versions of CIFAR-10 and CIFAR-100.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace fewshift {

// A record: `label_bytes` labels, of which the last one counts, then 32 x 32 red, green and blue bytes.
class CifarBinary : public Dataset {
 public:
  // Reads `files` whole. Throws Error (kNotFound, kIo; kCorrupt: its size or a label).
  CifarBinary(const std::vector<std::filesystem::path>& files, int label_bytes, int classes);
  size_t size() const override { return size_; }
  int label(size_t index) const override;
  std::string name(size_t index) const override;
  std::shared_ptr<const Image> image(size_t index) const override;
  Contents contents() const override {
    return contents_of(files_.size(), [this](size_t k) { return files_[k].path; });
  }

 private:
  struct File {
    std::string path, bytes;
    size_t first, records;  // number of its first record in the data set; how many it has
  };
  const File& file_of(size_t index) const;
  const char* record(size_t index) const;

  std::vector<File> files_;
  size_t label_bytes_, record_bytes_, size_ = 0;
};

}  // namespace fewshift
