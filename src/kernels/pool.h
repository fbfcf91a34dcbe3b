// Pooling. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/part.h"

namespace fewshift {

// Average or maximum of a window's pixels; those outside of the map do not count. y[c,i,j] sees the rows
// stride_y * i - pad_y ... + kernel_y - 1 and columns likewise.
struct Pool {
  bool max = false;
  int64_t kernel_y = 2, kernel_x = 2, stride_y = 2, stride_x = 2, pad_y = 0, pad_x = 0;
  const float* x = nullptr;  // pixel (0,0) of the first block
  int64_t x_rows = 0, x_columns = 0, x_row = 0, x_block = 0;
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
};

// The mean of all pixels of a channel, to the first pixel of y.
struct GlobalAverage {
  const float* x = nullptr;
  int64_t x_rows = 0, x_columns = 0, x_row = 0, x_block = 0;
  float* y = nullptr;
  int64_t y_block = 0;
};

}  // namespace fewshift
