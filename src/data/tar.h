// Tar files: what is in them, and writing them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fewshift {

struct TarMember {
  std::string name;
  uint64_t offset = 0, size = 0;  // of its bytes in the file
};

// The regular files in a tar, in order: POSIX ustar and pax (path and size), and GNU's long names. Reads
// headers alone. Throws Error: kNotFound, kIo; kCorrupt for a header that is none, a member that ends beyond
// the file, or a name or extended header over 1 MB; kUnsupported for a sparse file, or one that is
// compressed.
std::vector<TarMember> list_tar(const std::filesystem::path& path);
// The same, one after the other: `take` gets each, and what reads bytes of the file (at least those of the
// member, as a rule without another access to it).
using TarBytes = std::function<std::string(uint64_t offset, uint64_t size)>;
void walk_tar(const std::filesystem::path& path,
              const std::function<void(const TarMember&, const TarBytes&)>& take);

// `size` bytes at `offset`. Throws Error (kNotFound, kIo; kCorrupt where the file has fewer).
std::string read_range(const std::filesystem::path& path, uint64_t offset, uint64_t size);

// A member as it stands in a tar (ustar; pax for long names), owned by root, of no time: header, bytes, and
// zeros up to the next block.
std::string tar_member(const std::string& name, std::string_view bytes);
// What ends a tar.
std::string tar_end();

}  // namespace fewshift
