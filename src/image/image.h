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
  // Where the picture was decoded at a smaller scale: its own size. 0: as above.
  int full_width = 0, full_height = 0;
};

}  // namespace fewshift
