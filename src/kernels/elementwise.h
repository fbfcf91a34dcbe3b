// Functions of every element of a map. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/part.h"

namespace fewshift {

enum class ElementFunction { kClamp, kSigmoid, kErf, kGelu, kHardSigmoid, kHardSwish, kSwish };

// y = function(x). y may be x.
struct Unary {
  ElementFunction function = ElementFunction::kClamp;
  float low = 0, high = 0;  // of kClamp
  const float* x = nullptr;
  int64_t x_row = 0, x_block = 0;
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
};

// y = clamp(a + b) or clamp(a * b). y may be either.
struct Binary {
  bool multiply = false;
  const float *a = nullptr, *b = nullptr;
  int64_t a_row = 0, a_block = 0, b_row = 0, b_block = 0;
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
  float low = 0, high = 0;
};

// y = clamp(scale[c] * x + shift[c]). y may be x.
struct Affine {
  const float *scale = nullptr, *shift = nullptr;  // of a block's lanes; or none: 1, 0
  int64_t scale_block = 0, shift_block = 0;        // floats from one block's to the next one's
  const float* x = nullptr;
  int64_t x_row = 0, x_block = 0;
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
  float low = 0, high = 0;
};

}  // namespace fewshift
