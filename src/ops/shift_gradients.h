// The halves of the shift operators' backward passes, operators of their own (torch.ops.fewshift.*).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fewshift {

// For the gradient of the result, grad: [N,C,ceil(height/stride),ceil(width/stride)], that of x:
// [N,C,height,width].
at::Tensor sparse_shift_grad_x(const at::Tensor& grad, const at::Tensor& displacement, int64_t height,
                               int64_t width, int64_t stride);
at::Tensor active_shift_grad_x(const at::Tensor& grad, const at::Tensor& displacement, int64_t height,
                               int64_t width, int64_t stride);

// That of the displacement, [C,2]: of bilinear interpolation at the real-valued displacement, which is both
// operators'.
at::Tensor shift_grad_displacement(const at::Tensor& grad, const at::Tensor& x,
                                   const at::Tensor& displacement, int64_t stride);

}  // namespace fewshift
