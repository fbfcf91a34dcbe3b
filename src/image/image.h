// A picture in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift {

struct Image {
  int width = 0;                // px
  int height = 0;               // px
  std::vector<uint8_t> pixels;  // [height][width][3], RGB, 0 to 255
};

}  // namespace fewshift
