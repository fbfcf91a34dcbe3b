// Whole files: read in one piece, written so that a failure never harms what was there.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/aligned.h"

namespace fewshift {

// The extension of `path` with its dot, in small letters: ".onnx".
std::string extension_of(const std::filesystem::path& path);

// The bytes of `path`. Throws Error (kNotFound, kIo).
std::string read_file(const std::filesystem::path& path);

// The same, beginning at a cache line.
// Throws (kUnsupported) where
// there are more than `most`.
AlignedBytes read_bytes(const std::filesystem::path& path, int64_t most = INT64_MAX);

// Writes `bytes` to a temporary file beside `path`, syncs it to disk and renames it to `path`: after a crash,
// a kill or a full disk `path` holds either its old content or all of the new. A symbolic link stays one; to
// a device or a pipe it writes directly. Throws Error (kIo).
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

// Puts `bytes` behind what `path` holds, or makes it; with `sync` all of it is on disk afterwards. Throws
// Error (kIo).
void append_file(const std::filesystem::path& path, std::string_view bytes, bool sync = false);

}  // namespace fewshift
