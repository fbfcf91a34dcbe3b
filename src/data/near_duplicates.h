// Pictures that show the same, whatever became of their files: saved again, scaled, a little brighter.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "image/image.h"

namespace fewshift {

// What is kept of a picture to find it again: a perceptual hash (dHash: whether grey rises from each of 9 x 8
// cells to its right neighbour), and 8 x 8 cells of RGB for those whose hashes agree.
struct Likeness {
  uint64_t hash = 0;
  std::array<uint8_t, 192> cells{};
};
Likeness likeness(const Image& image);

// Groups of at least two, each member nearly the same as another of its group; members and groups in order.
// Nearly the same: hashes differ in at most 6 bits, and at 32 x 32 px the correlation of the colours, each
// channel less its mean, is at least 0.98. `open` gives a picture anew, for that look; where it gives
// nothing, the picture is in no group.
std::vector<std::vector<size_t>> near_duplicates(
    const std::vector<Likeness>& pictures, const std::function<std::shared_ptr<const Image>(size_t)>& open);

}  // namespace fewshift
