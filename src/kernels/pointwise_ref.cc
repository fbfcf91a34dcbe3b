// Pointwise convolution written for clarity: what the kernels are held against.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/kernels.h"

namespace fewshift {
namespace {

thread_local int t_lanes = 0, t_width = 0;  // of the table that was asked for

void pointwise(const Pointwise& a, int64_t from, int64_t to) {
  for (int64_t o = 0; o < a.blocks * t_lanes; ++o) {
    for (int64_t i = from; i < to; ++i) {
      for (int64_t j = 0; j < a.columns; ++j) {
        const int64_t at = o / t_lanes * a.y_block + i * a.y_row + j * t_lanes + o % t_lanes;
        double sum = a.bias[o] + (a.residual ? a.residual[at] : 0.0);
        for (int64_t k = 0; k < a.inputs; ++k) {
          sum += double(a.weights[(o / t_width * a.inputs + k) * t_width + o % t_width]) *
                 a.x[i * a.x_row + j * a.x_pixel + a.offsets[k]];
        }
        a.y[at] = std::clamp(static_cast<float>(sum), a.low, a.high);
      }
    }
  }
}

}  // namespace

Kernels reference_kernels(int lanes, int tile_blocks) {
  t_lanes = lanes, t_width = lanes * tile_blocks;
  return {"reference", lanes, tile_blocks, pointwise};
}

std::vector<float> pack_pointwise(const float* weight, int64_t outputs, int64_t inputs, int64_t width) {
  const int64_t tiles = (outputs + width - 1) / width;
  std::vector<float> packed(tiles * inputs * width, 0.0f);
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t k = 0; k < inputs; ++k)
      packed[(o / width * inputs + k) * width + o % width] = weight[o * inputs + k];
  }
  return packed;
}

}  // namespace fewshift
