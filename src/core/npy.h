// NumPy's .npy files of float32. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fewshift {

struct Npy {
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major
};

// Throws Error naming the file: kCorrupt for what is no .npy or cut short, kUnsupported for other types than
// little-endian float32 and for column-major order.
Npy parse_npy(const std::string& bytes, const std::string& where);
Npy read_npy(const std::filesystem::path& path);
void write_npy(const std::filesystem::path& path, const Npy& array);  // atomically

}  // namespace fewshift
