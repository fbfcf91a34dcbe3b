// Batch norm, ReLU and sparse shift in one: the hidden activation is read, and its shifted form written,
// once. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <limits>
#include <utility>

namespace fewshift {

// Mean and biased variance of every channel, in the order of the images whatever the number of threads.
// h: [N,C,H,W] float32, channels_last, CPU. Both results: [C] float32. No gradient.
std::pair<at::Tensor, at::Tensor> channel_moments(const at::Tensor& h);

// sparse_shift(min(relu((h - mean) / sqrt(variance + eps) * gamma + beta), top), displacement, stride), with
// gradients for h, gamma, beta and the displacement.
//
//   h                 [N,C,H,W] float32, channels_last, CPU
//   gamma, beta       [C]
//   mean, variance    [C]; with `batch_statistics` those of h itself (channel_moments), through which the
//   gradient for h
//                     then goes too; else constants
//   displacement      [C,2], or undefined: no shift
//   stride            1 or 2
//   top               where the activation ends: 6 makes it ReLU6
//   count             values a channel behind batch statistics; 0: those of h. More where they are those of
//                     several processes (ops/batch_norm_sums.h)
at::Tensor norm_relu_shift(const at::Tensor& h, const at::Tensor& gamma, const at::Tensor& beta,
                           const at::Tensor& mean, const at::Tensor& variance, bool batch_statistics,
                           double eps, const at::Tensor& displacement, int64_t stride,
                           double top = std::numeric_limits<double>::infinity(), double count = 0);

}  // namespace fewshift
