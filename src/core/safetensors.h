// The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace fewshift {

struct RawTensor {
  std::string dtype;  // "F32", "F64", "I64", "U8", ...
  std::vector<int64_t> shape;
  std::string bytes;  // little-endian, row-major
};

struct SafeTensors {
  std::map<std::string, RawTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Throws Error (kCorrupt, naming the tensor or field): a header longer than the file or than 100 MB, not
// JSON, sizes that do not fit the shape, offsets that leave the file, overlap or leave holes, or contents
// that differ from the checksum, if there is one. The checksum is not among the metadata returned.
SafeTensors parse_safetensors(const std::string& bytes, const std::string& where);
SafeTensors read_safetensors(const std::filesystem::path& path);

// With a checksum of tensors and metadata, as the entry "checksum" of the latter.
std::string format_safetensors(const SafeTensors& file);
// Atomically (see write_file_atomic).
void write_safetensors(const std::filesystem::path& path, const SafeTensors& file);

}  // namespace fewshift
