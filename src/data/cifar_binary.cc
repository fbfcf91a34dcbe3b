// Checks the records of CIFAR's binary files once; serves them from memory.
// SPDX-License-Identifier: Apache-2.0
#include "data/cifar_binary.h"

#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {
namespace {

constexpr int kSide = 32;
constexpr size_t kPlane = size_t{kSide} * kSide;

}  // namespace

CifarBinary::CifarBinary(const std::vector<std::filesystem::path>& files, int label_bytes, int classes)
    : label_bytes_(label_bytes), record_bytes_(label_bytes + 3 * kPlane) {
  for (const auto& path : files) {
    File file{path.string(), read_file(path), size_, 0};
    if (file.bytes.empty()) throw Error(ErrorCode::kCorrupt, file.path, "the file is empty");
    if (file.bytes.size() % record_bytes_ != 0) {
      throw Error(ErrorCode::kCorrupt, file.path,
                  "its " + std::to_string(file.bytes.size()) + " bytes are no whole number of records of " +
                      std::to_string(record_bytes_) + " bytes");
    }
    file.records = file.bytes.size() / record_bytes_;
    for (size_t i = 0; i < file.records; ++i) {
      const int label = static_cast<uint8_t>(file.bytes[i * record_bytes_ + label_bytes_ - 1]);
      if (label < classes) continue;
      throw Error(ErrorCode::kCorrupt, file.path,
                  "record " + std::to_string(i) + " has label " + std::to_string(label) + ", not 0 to " +
                      std::to_string(classes - 1));
    }
    size_ += file.records;
    files_.push_back(std::move(file));
  }
}

const CifarBinary::File& CifarBinary::file_of(size_t index) const {
  size_t i = 0;
  while (index >= files_[i].first + files_[i].records) ++i;
  return files_[i];
}

const char* CifarBinary::record(size_t index) const {
  const File& file = file_of(index);
  return file.bytes.data() + (index - file.first) * record_bytes_;
}

int CifarBinary::label(size_t index) const {
  return static_cast<uint8_t>(record(index)[label_bytes_ - 1]);
}

std::string CifarBinary::name(size_t index) const {
  const File& file = file_of(index);
  return file.path + "#" + std::to_string(index - file.first);
}

std::shared_ptr<const Image> CifarBinary::image(size_t index) const {
  const char* planes = record(index) + label_bytes_;
  auto image = std::make_shared<Image>(Image{kSide, kSide, std::vector<uint8_t>(3 * kPlane)});
  for (size_t i = 0; i < kPlane; ++i) {
    for (size_t c = 0; c < 3; ++c) image->pixels[3 * i + c] = static_cast<uint8_t>(planes[c * kPlane + i]);
  }
  return image;
}

}  // namespace fewshift
