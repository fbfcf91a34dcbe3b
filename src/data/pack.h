// A folder of pictures as tar shards. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

namespace fewshift {

struct PackOptions {
  uint64_t shard_bytes = uint64_t{256} << 20;  // a shard ends behind the picture that reaches this
  uint64_t seed = 0;                           // of the order: classes are mixed in every shard
};

struct Packed {
  int64_t pictures = 0, shards = 0;
  uint64_t bytes = 0;
};

// Writes OUT/train-000000.tar and so on, val and test likewise, and OUT/class_names.txt, from an image folder
// (open_data's). Files go in as they are, unopened; a member is named by its path below the part, dots in its
// stem replaced by '_'. OUT appears when it is whole: until then all is in OUT.partial. Throws Error: what
// open_data throws; kUnsupported for another layout; kInvalidArgument where OUT or OUT.partial is there
// already; kIo.
Packed pack_data(const std::filesystem::path& folder, const std::filesystem::path& out,
                 const PackOptions& options, const std::function<void(size_t, size_t)>& on_progress);

}  // namespace fewshift
