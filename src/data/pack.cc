// SPDX-License-Identifier: Apache-2.0
#include "data/pack.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <set>

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

}  // namespace

Packed pack_data(const fs::path& folder, const fs::path& out, const PackOptions& options,
                 const std::function<void(size_t, size_t)>& on_progress) {
  DataOptions how;
  how.val_share = 0, how.cache_bytes = 0;
  const Data data = open_data(folder, how);
  const bool flat = data.format == kClassFolders;
  if (data.format != kImageFolder && !flat)
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
      fs::path shard;
      uint64_t size = 0;
      int number = 0;
      auto add = [&](const std::string& bytes, bool last) {
        append_file(shard, bytes, last);
        size += bytes.size(), packed.bytes += bytes.size();
      };
      for (size_t k = 0; k < order.size(); ++k) {
        if (size == 0) {
          char name[64];
          std::snprintf(name, sizeof name, "%s-%06d.tar", part.name, number++);
          shard = partial / name;
          ++packed.shards;
        }
        const fs::path picture = part.set->name(order[k]);
        const std::string key = key_of(picture, flat ? folder : folder / part.name, taken);
        add(tar_member(key + extension_of(picture), part.set->file(order[k])) +
                tar_member(key + ".cls", std::to_string(part.set->label(order[k]))),
            false);
        ++packed.pictures;
        on_progress(++done, all);
        if (size < options.shard_bytes && k + 1 < order.size()) continue;
        add(tar_end(), true);
        size = 0;
      }
    }
    fs::rename(partial, out);
    return packed;
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kIo, error.path1().string(), error.code().message());
  }
}

}  // namespace fewshift
