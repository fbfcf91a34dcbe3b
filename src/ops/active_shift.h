// The active shift layer's operator (ASL; "Constructing Fast Network through Deconstruction of Convolution",
// NeurIPS 2018). SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fewshift {

// Moves every channel of x by its own real-valued displacement, with bilinear interpolation.
//
//   x, displacement, stride, result: shapes, types and layouts as sparse_shift's (ops/sparse_shift.h)
//                 y[n,c,i,j] = x at (stride*i + dy_c, stride*j + dx_c), interpolated between its four pixels,
//                 each 0 where it lies outside of x
//
// The gradient for x is the adjoint; that for the displacement is the interpolation's own, on whole numbers
// the one from the right. Throws c10::Error on other shapes, types and strides.
at::Tensor active_shift(const at::Tensor& x, const at::Tensor& displacement, int64_t stride = 1);

}  // namespace fewshift
