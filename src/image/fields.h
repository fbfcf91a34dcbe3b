// Numbers of either byte order in a file's bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fewshift {

struct Fields {
  std::string_view bytes;
  bool little = false;

  // The number of `width` bytes, at most 4, at `at`; none where it would leave the bytes.
  std::optional<uint32_t> get(size_t at, size_t width) const {
    if (at > bytes.size() || bytes.size() - at < width) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) {
      const size_t from = little ? at + width - 1 - i : at + i;
      value = value << 8 | static_cast<uint8_t>(bytes[from]);
    }
    return value;
  }
};

}  // namespace fewshift
