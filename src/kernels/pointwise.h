// Convolution of any kernel as a product of weights and inputs, where every input has an offset of its own: a
// displacement is an offset, a k x k kernel k * k inputs for each channel, a slice or a shuffle of channels
// another order of offsets. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "kernels/part.h"

namespace fewshift {

// y[o,i,j] = clamp(bias[o] + sum over k of weights[o,k] * x[offsets[k] + i * x_row + j * x_pixel] +
// residual[o,i,j])
struct Pointwise {
  const float* x = nullptr;
  const int32_t* offsets = nullptr;  // [inputs], floats
  int64_t inputs = 0;
  int64_t x_row = 0, x_pixel = 0;   // floats from one output pixel's inputs to the next one's
  const float* weights = nullptr;   // [blocks][inputs][lanes], as pack_pointwise makes them
  const float* bias = nullptr;      // [blocks][lanes]
  const float* residual = nullptr;  // a map of y's strides, y itself, or none
  float* y = nullptr;               // pixel (0,0) of the first block; pixels stand `lanes` floats apart
  int64_t columns = 0, y_row = 0, y_block = 0;
  float low = 0, high = 0;
};

// Of a weight with so many columns its rows `outputs` and columns `inputs`, in that order, for outputs that
// begin at lane `first` of their first block. Weights of lanes without an output are zero, so that a residual
// leaves what stands there as it is. Appended to `to`; returns where they begin.
int64_t pack_pointwise(const float* weight, int64_t columns, const std::vector<int64_t>& outputs,
                       const std::vector<int64_t>& inputs, int lanes, int first, AlignedFloats& to);

}  // namespace fewshift
