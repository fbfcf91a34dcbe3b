// Depthwise convolution of any kernel, stride and dilation. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "core/aligned.h"
#include "kernels/part.h"

namespace fewshift {

// y[c,i,j] = clamp(bias[c] + sum over t of weights[c,t] * x[c][taps[t] + i * x_row + j * x_pixel])
struct Depthwise {
  const float* x = nullptr;       // pixel (0,0) of the first block
  const int32_t* taps = nullptr;  // [tap_count], floats from an output pixel's place in x
  int64_t tap_count = 0;
  int64_t kernel = 0, stride = 0;  // where the taps are kernel x kernel neighbours, row by row; else 0
  int64_t x_row = 0, x_pixel = 0, x_block = 0,
          tap_row = 0;             // tap_row: floats between rows of taps, where kernel > 0
  const float* weights = nullptr;  // [blocks][tap_count][lanes]
  const float* bias = nullptr;     // [blocks][lanes]
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
  float low = 0, high = 0;
};

// weight [channels][taps]. Appended to `to`; returns where they begin.
int64_t pack_depthwise(const float* weight, int64_t channels, int64_t taps, int lanes, AlignedFloats& to);

}  // namespace fewshift
