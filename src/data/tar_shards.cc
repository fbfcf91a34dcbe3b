// SPDX-License-Identifier: Apache-2.0
#include "data/tar_shards.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <exception>
#include <optional>
#include <thread>

#include "core/error.h"
#include "data/tar.h"
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

namespace {

// Of one shard.
PictureTable list_shard(const fs::path& path, size_t file) {
  constexpr uint64_t kLongestLabel = 64;
  const std::string where = path.string() + ":";
  PictureTable table;
  struct Sample {
    std::string key;
    std::optional<TarMember> picture;
    std::optional<std::string> label;  // the text
    std::string label_name;
  } sample;
  const auto finish = [&] {
    if (!sample.picture) return;
    const std::string& name = sample.picture->name;
    if (!sample.label)
      throw Error(ErrorCode::kCorrupt, where + name, "the picture has no " + sample.key + ".cls beside it");
    table.add(name, parse_label(*sample.label, where + sample.label_name),
              {file, sample.picture->offset, sample.picture->size});
  };
  walk_tar(path, [&](const TarMember& member, const TarBytes& bytes) {
    const auto [key, kind] = split(member.name);
    if (key != sample.key) {
      finish();
      sample = {key, {}, {}, {}};
    }
    if (key.empty() || key.ends_with('/')) return;  // "._x.jpg": what macOS puts beside
    const bool is_picture = kind == "jpg" || kind == "jpeg" || kind == "png" || kind == "webp",
               is_label = kind == "cls";
    if ((is_picture && sample.picture) || (is_label && sample.label))
      throw Error(ErrorCode::kCorrupt, where + member.name, "the sample has two of this kind");
    if (is_picture) sample.picture = member;
    if (is_label)
      sample.label = bytes(member.offset, std::min(member.size, kLongestLabel)),
      sample.label_name = member.name;
  });
  finish();
  return table;
}

// Of all, several at a time: on a network's disk each read is a wait.
PictureTable list_shards(const std::vector<fs::path>& files) {
  constexpr size_t kThreads = 8;
  std::vector<PictureTable> tables(files.size());
  std::vector<std::exception_ptr> failures(files.size());
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  const auto work = [&] {
    for (size_t k; (k = next++) < files.size();) {
      try {
        tables[k] = list_shard(files[k], k);
      } catch (...) {
        failures[k] = std::current_exception();
      }
    }
  };
  for (size_t t = 1; t < std::min(kThreads, files.size()); ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  PictureTable all;
  for (size_t k = 0; k < files.size(); ++k) {
    if (failures[k]) std::rethrow_exception(failures[k]);
    all.append(tables[k]);
    tables[k] = {};
  }
  all.shrink();
  return all;
}

}  // namespace

TarShards::TarShards(const fs::path& folder, const std::string& part, std::vector<fs::path> files,
                     int min_side)
    : files_(std::move(files)), min_side_(min_side) {
  StampedTable list;
  for (const fs::path& file : files_)
    list.stamps.push_back(stamp_of(folder, file.filename().string(), false));
  if (auto kept = kept_table(folder, part); kept && kept->stamps == list.stamps) {
    pictures_ = std::move(kept->table);
  } else {
    list.table = list_shards(files_);
    keep_table(folder, part, list);
    pictures_ = std::move(list.table);
  }
  if (pictures_.size() == 0)
    throw Error(ErrorCode::kNotFound, files_.empty() ? "shards" : files_.front().string(),
                "no picture (" + std::string(kImageExtensions) + ") in the shards");
  for (size_t first = 0, k = 1; k <= pictures_.size(); ++k) {
    if (k < pictures_.size() && pictures_.place(k).file == pictures_.place(first).file) continue;
    runs_.emplace_back(first, k);
    first = k;
  }
}

std::string TarShards::name(size_t index) const {
  return files_[pictures_.place(index).file].string() + ":" + std::string(pictures_.name(index));
}

std::string TarShards::file(size_t index) const {
  const PictureTable::Place place = pictures_.place(index);
  return read_range(files_[place.file], place.offset, place.size);
}

std::shared_ptr<const Image> TarShards::image(size_t index) const {
  return std::make_shared<const Image>(decode_image(file(index), name(index), min_side_));
}

std::shared_ptr<const Image> TarShards::image(size_t index, const Wanted& wanted) const {
  return std::make_shared<const Image>(decode_image(file(index), name(index), wanted));
}

int TarShards::classes() const {
  int most = 0;
  for (size_t k = 0; k < pictures_.size(); ++k) most = std::max(most, pictures_.label(k));
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
