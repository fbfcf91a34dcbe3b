// Any bytes as a tar shard: an Error, or members within the file and pictures that decode or throw one.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "core/error.h"
#include "data/tar.h"
#include "data/tar_shards.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fewshift;
  // A header's checksum is put right, or hardly a changed one would be read.
  std::string bytes(reinterpret_cast<const char*>(data), size);
  for (size_t at = 0; at + 512 <= size; at += 512) {
    if (bytes.compare(at + 257, 5, "ustar") != 0) continue;
    bytes.replace(at + 148, 8, 8, ' ');
    unsigned sum = 0;
    for (size_t k = at; k < at + 512; ++k) sum += static_cast<uint8_t>(bytes[k]);
    char digits[8];
    std::snprintf(digits, sizeof digits, "%06o", sum);
    bytes.replace(at + 148, 7, digits, 7);
  }
  const MemoryFile file(reinterpret_cast<const uint8_t*>(bytes.data()), size);
  try {
    for (const TarMember& member : list_tar(file.path())) {
      if (member.offset > size || member.size > size - member.offset) std::abort();
    }
    const std::filesystem::path path = file.path();
    const TarShards shards(path.parent_path(), "train", {path}, 0);
    if (shards.classes() < 1) std::abort();
    for (size_t k = 0; k < shards.size(); ++k) {
      try {
        shards.image(k);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
