// The sparse shift layer's operator (SSL; "All You Need is a Few Shifts", CVPR 2019).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fewshift {

// Moves every channel of x by its own displacement, rounded to whole pixels (half to even).
//
//   x             [N,C,H,W] float32, float64, bfloat16 or, on a GPU, float16; contiguous or
//                 channels_last, and so the result
//   displacement  [C,2] float32 or float64: (dy, dx) in pixels, of any size
//   stride        1 or 2
//   result        [N,C,ceil(H/stride),ceil(W/stride)]
//                 y[n,c,i,j] = x[n,c, stride*i + round(dy_c), stride*j + round(dx_c)], 0 outside of x
//
// The gradient for x is the exact adjoint. The gradient for the displacement is that of bilinear
// interpolation at the unrounded displacement (quantisation-aware: rounded forward, real-valued backward).
// Throws c10::Error on other shapes, types and strides.
at::Tensor sparse_shift(const at::Tensor& x, const at::Tensor& displacement, int64_t stride = 1);

}  // namespace fewshift
