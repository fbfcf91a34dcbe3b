// SPDX-License-Identifier: Apache-2.0
#include "data/tar_shards.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "core/error.h"
#include "image/decode.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;

// A member's name up to the first dot of its last part, and what follows that dot, in small letters.
std::pair<std::string, std::string> split(const std::string& name) {
  const size_t slash = name.rfind('/'), begin = slash == std::string::npos ? 0 : slash + 1;
  const size_t dot = name.find('.', begin);
  if (dot == std::string::npos) return {name, ""};
  std::string kind = name.substr(dot + 1);
  std::transform(kind.begin(), kind.end(), kind.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return {name.substr(0, dot), kind};
}

int parse_label(const std::string& text, const std::string& where) {
  constexpr int kMost = 99'999;
  std::string trimmed = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  int label = -1;
  const auto [end, status] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), label);
  if (status != std::errc() || end != trimmed.data() + trimmed.size() || label < 0 || label > kMost)
    throw Error(ErrorCode::kCorrupt, where, "is no class: a number from 0 to 99,999 is wanted");
  return label;
}

}  // namespace

TarShards::TarShards(std::vector<fs::path> files, int min_side)
    : files_(std::move(files)), min_side_(min_side) {
  for (size_t file = 0; file < files_.size(); ++file) {
    const size_t first = samples_.size();
    read(file);
    if (samples_.size() > first) runs_.emplace_back(first, samples_.size());
  }
  if (samples_.empty())
    throw Error(ErrorCode::kNotFound, files_.empty() ? "shards" : files_.front().string(),
                "no picture (.jpg, .jpeg, .png) in the shards");
}

void TarShards::read(size_t file) {
  const std::vector<TarMember> members = list_tar(files_[file]);
  const std::string where = files_[file].string() + ":";
  constexpr uint64_t kLongestLabel = 64;
  for (size_t k = 0; k < members.size();) {
    const std::string key = split(members[k].name).first;
    const TarMember *picture = nullptr, *label = nullptr;
    const bool hidden = key.empty() || key.ends_with('/');  // "._x.jpg": what macOS puts beside
    for (; k < members.size() && split(members[k].name).first == key; ++k) {
      const std::string kind = split(members[k].name).second;
      const bool is_picture = kind == "jpg" || kind == "jpeg" || kind == "png", is_label = kind == "cls";
      if (hidden) continue;
      if ((is_picture && picture) || (is_label && label))
        throw Error(ErrorCode::kCorrupt, where + members[k].name, "the sample has two of this kind");
      if (is_picture) picture = &members[k];
      if (is_label) label = &members[k];
    }
    if (!picture) continue;
    if (!label)
      throw Error(ErrorCode::kCorrupt, where + picture->name, "the picture has no " + key + ".cls beside it");
    const std::string text = read_range(files_[file], label->offset, std::min(label->size, kLongestLabel));
    samples_.push_back({file, *picture, parse_label(text, where + label->name)});
  }
}

std::string TarShards::name(size_t index) const {
  const Sample& sample = samples_[index];
  return files_[sample.file].string() + ":" + sample.picture.name;
}

std::string TarShards::file(size_t index) const {
  const Sample& sample = samples_[index];
  return read_range(files_[sample.file], sample.picture.offset, sample.picture.size);
}

std::shared_ptr<const Image> TarShards::image(size_t index) const {
  return std::make_shared<const Image>(decode_image(file(index), name(index), min_side_));
}

int TarShards::classes() const {
  int most = 0;
  for (const Sample& sample : samples_) most = std::max(most, sample.label);
  return most + 1;
}

std::vector<fs::path> find_shards(const fs::path& folder, const std::string& part) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.ends_with(".tar") &&
        (name == part + ".tar" || name.starts_with(part + "-")))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace fewshift
