// Files in folders of pictures that are none by their names.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace fewshift {

// How many of each kind: ".gif", or "without an extension".
using PassedOver = std::map<std::string, int64_t>;

void pass_over(const std::filesystem::path& file, PassedOver& all);

// In a line: "2 .gif, 1 .tiff (pictures end in .jpg, .jpeg, .png, .webp)".
std::string text(const PassedOver& all);

}  // namespace fewshift
