// Batch norm as an operator of its own whose statistics are those of all processes (ops/batch_norm_sums.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

namespace fewshift {

struct NormResult {
  at::Tensor y;               // as x
  at::Tensor mean, variance;  // [C] float32, of all processes' batches, biased; without gradients
  double count = 0;           // values a channel in them
};

// (x - mean) / sqrt(variance + eps) * gamma + beta by channel, with gradients for x, through the statistics,
// and for gamma and beta: those of this process's part of the loss.
//   x             [N,C,...], of any floating type and device; sums are float32 or wider
//   gamma, beta   [C]
NormResult sync_batch_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta, double eps);

}  // namespace fewshift
