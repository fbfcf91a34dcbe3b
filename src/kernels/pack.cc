// Weights as the kernels read them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/depthwise.h"
#include "kernels/pointwise.h"

namespace fewshift {

AlignedFloats pack_pointwise(const float* weight, int64_t outputs, int64_t columns,
                             const std::vector<int64_t>& inputs, int lanes, int first) {
  const int64_t blocks = (first + outputs + lanes - 1) / lanes,
                each = static_cast<int64_t>(inputs.size()) * lanes;
  AlignedFloats packed(blocks * each, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = std::max<int64_t>(first - b * lanes, 0),
                  end = std::min<int64_t>(first + outputs - b * lanes, lanes);
    const float* from = weight + (b * lanes - first) * columns;
    float* to = packed.data() + b * each;
    for (int64_t input : inputs) {
      for (int64_t lane = begin; lane < end; ++lane) to[lane] = from[lane * columns + input];
      to += lanes;
    }
  }
  return packed;
}

AlignedFloats pack_depthwise(const float* weight, int64_t channels, int64_t taps, int lanes) {
  AlignedFloats packed((channels + lanes - 1) / lanes * taps * lanes, 0.0f);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t)
      packed[(c / lanes * taps + t) * lanes + c % lanes] = weight[c * taps + t];
  }
  return packed;
}

}  // namespace fewshift
