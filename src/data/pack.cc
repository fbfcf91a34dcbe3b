// SPDX-License-Identifier: Apache-2.0
#include "data/pack.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/random.h"
#include "data/open.h"
#include "data/tar.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;

// "dog/my.photo.jpg" becomes "dog/my_photo": a name up to its first dot is the sample's.
std::string key_of(const fs::path& picture, const fs::path& part, std::set<std::string>& taken) {
  const fs::path relative = picture.lexically_relative(part);
  std::string stem = relative.stem().string();
  std::replace(stem.begin(), stem.end(), '.', '_');
  const std::string base = (relative.parent_path() / stem).generic_string();
  std::string key = base;
  for (int k = 2; !taken.insert(key).second; ++k) key = base + "_" + std::to_string(k);
  return key;
}

class Shard {
 public:
  explicit Shard(fs::path path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wbx")) {
    if (!file_) fail();
  }
  ~Shard() {
    if (file_) std::fclose(file_);
  }
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  uint64_t size() const { return size_; }
  // Both return how many bytes they wrote.
  uint64_t add(const std::string& bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail();
    size_ += bytes.size();
    return bytes.size();
  }
  uint64_t close() {
    const uint64_t end = add(tar_end());
    std::FILE* const file = std::exchange(file_, nullptr);
    const bool synced = std::fflush(file) == 0 && ::fsync(fileno(file)) == 0;
    if (std::fclose(file) != 0 || !synced) fail();
    return end;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(ErrorCode::kIo, path_.string(), std::string("cannot write: ") + std::strerror(errno));
  }
  fs::path path_;
  std::FILE* file_;
  uint64_t size_ = 0;
};

}  // namespace

Packed pack_data(const fs::path& folder, const fs::path& out, const PackOptions& options,
                 const std::function<void(size_t, size_t)>& on_progress) {
  DataOptions how;
  how.val_share = 0, how.cache_bytes = 0;
  const Data data = open_data(folder, how);
  if (data.format != "image folder")
    throw Error(ErrorCode::kUnsupported, folder.string(),
                "is " + data.format + ": only image folders are packed");
  struct Part {
    const char* name;
    const Dataset* set;
  };
  const Part parts[] = {{"train", data.train.get()}, {"val", data.val.get()}, {"test", data.test.get()}};
  const fs::path partial = out.string() + ".partial";
  for (const fs::path& path : {out, partial}) {
    if (fs::exists(path))
      throw Error(ErrorCode::kInvalidArgument, path.string(),
                  "is there already; remove it, or choose another");
  }
  try {
    fs::create_directories(partial);
    size_t all = 0, done = 0;
    for (const Part& part : parts) all += part.set ? part.set->size() : 0;
    std::string names;
    for (const std::string& name : data.class_names) names += name + "\n";
    write_file_atomic(partial / "class_names.txt", names);
    Packed packed;
    for (const Part& part : parts) {
      if (!part.set) continue;
      std::vector<size_t> order(part.set->size());
      std::iota(order.begin(), order.end(), size_t{0});
      Random random{options.seed, 0x7061636B};  // "pack"
      shuffle(order, random);
      std::set<std::string> taken;
      std::optional<Shard> shard;
      int number = 0;
      for (size_t index : order) {
        if (!shard) {
          char name[64];
          std::snprintf(name, sizeof name, "%s-%06d.tar", part.name, number++);
          shard.emplace(partial / name);
          ++packed.shards;
        }
        const fs::path picture = part.set->name(index);
        const std::string key = key_of(picture, folder / part.name, taken);
        packed.bytes += shard->add(tar_member(key + extension_of(picture), read_file(picture)));
        packed.bytes += shard->add(tar_member(key + ".cls", std::to_string(part.set->label(index))));
        ++packed.pictures;
        on_progress(++done, all);
        if (shard->size() < options.shard_bytes) continue;
        packed.bytes += shard->close();
        shard.reset();
      }
      if (shard) packed.bytes += shard->close();
    }
    fs::rename(partial, out);
    return packed;
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kIo, error.path1().string(), error.code().message());
  }
}

}  // namespace fewshift
