// Dense convolution, each of whose inputs is read at a displacement of its own: pointwise with a shift for
// free, and any k x k, which is a pointwise convolution of k * k times the inputs. SPDX-License-Identifier:
// Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift {

//   y[o](i,j) = clamp(bias[o] + sum over k of weight[o][k] * x[k](stride*i, stride*j) + residual[o](i,j),
//   low, high)
//
// Of maps as kernels.h describes them. What a displacement reads must lie in the map or in its margin.
struct Pointwise {
  const float* x = nullptr;          // where the offsets count from, for pixel (0,0)
  const int32_t* offsets = nullptr;  // [inputs], in floats: the input's block and lane, and where it is read
  int64_t inputs = 0;
  const float* weights = nullptr;   // of pack_pointwise
  const float* bias = nullptr;      // [tiles * tile_blocks * lanes]
  const float* residual = nullptr;  // laid out as y, and may be y; or none
  float* y = nullptr;               // pixel (0,0) of the first block of outputs
  int64_t blocks = 0;               // of outputs
  int64_t columns = 0;
  int64_t x_row = 0, x_pixel = 0;  // floats between what neighbours in y read: a stride is in them
  int64_t y_row = 0, y_block = 0;  // floats from one to the next
  float low = 0, high = 0;         // infinities: no clamp
};

// weight: [outputs][inputs]. Result: [ceil(outputs / width)][inputs][width], zeros behind the last output,
// with width = tile_blocks * lanes of the kernels that it is for.
std::vector<float> pack_pointwise(const float* weight, int64_t outputs, int64_t inputs, int64_t width);

}  // namespace fewshift
