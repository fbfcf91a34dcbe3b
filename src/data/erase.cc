// Draws the rectangle's area, shape and place.
// SPDX-License-Identifier: Apache-2.0
#include "data/erase.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace fewshift {

void erase_rectangle(float* picture, int size, Random& random) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = double(size) * size * random.uniform(0.02, 1.0 / 3);
    const double aspect = std::exp(random.uniform(std::log(0.3), std::log(3.3)));
    const auto height = static_cast<int>(std::lround(std::sqrt(area * aspect)));
    const auto width = static_cast<int>(std::lround(std::sqrt(area / aspect)));
    if (height < 1 || width < 1 || height >= size || width >= size) continue;
    const auto top = static_cast<size_t>(random.below(size - height + 1));
    const auto left = static_cast<size_t>(random.below(size - width + 1));
    for (size_t y = top; y < top + height; ++y) std::fill_n(picture + (y * size + left) * 3, width * 3, 0.0f);
    return;
  }
}

}  // namespace fewshift
