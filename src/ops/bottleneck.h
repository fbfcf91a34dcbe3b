// A whole inverted bottleneck as one operator for training on the CPU: pointwise expand, batch norm, ReLU,
// shift or pool, pointwise project, batch norm, residual. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/planar.h"

namespace fewshift {

// The hidden activation never goes through memory: it is made in pieces that stay in the cache, forward, and
// once more backward. Batch norm behind the expand costs no pass over it, since the statistics of W x follow
// from x's mean and covariance, and so do its gradients (docs/mathematics.md).
struct Bottleneck {
  // What the backward pass reads of the hidden activation: made again, or kept, in float32 or, rounded, in
  // bfloat16. kAuto: kept in float32 where making it again takes longer. With a stride of 2 it is made again.
  enum class Hidden { kAuto, kRecompute, kFloat, kBf16 };
  Hidden hidden = Hidden::kAuto;
  // Of both pointwise layers' products, forward and backward. Of bfloat16s: x less its mean, weights with
  // batch norm folded in, the hidden activation and gradients are rounded, sums are float32, and so stay x,
  // y, the gradient of x, statistics and the weights; what is kept of the hidden activation is then bfloat16
  // too.
  PlanarOperands operands = PlanarOperands::kFloat;
  at::Tensor x;  // [N,C,H,W] float32; channels from `first` on are read, c of them
  int64_t first = 0;
  at::Tensor expand;          // [hidden,c,1,1]
  at::Tensor gamma1, beta1;   // [hidden]
  at::Tensor displacement;    // [hidden,2], px: a shift; or
  at::Tensor depthwise;       // [hidden,1,3,3]: a depthwise convolution with zeros around; or neither:
                              // 2x2 average pool of stride 2
  bool interpolated = false;  // active shift; else sparse shift
  int64_t stride = 1;         // 1 or 2
  at::Tensor
      scale;  // undefined, or [N,hidden]: factors of what the project reads, for squeeze-and-excitation
  at::Tensor project;        // [out,hidden,1,1]
  at::Tensor gamma2, beta2;  // [out]
  double eps1 = 1e-5, eps2 = 1e-5;
  bool residual = false;  // adds the channels read; then, if first > 0, the others pass: out = c
  // Running statistics in place of the batch's, for evaluation: undefined, or [hidden], [hidden], [out],
  // [out].
  at::Tensor mean1, variance1, mean2, variance2;
  at::Tensor removal_cost;  // undefined, or [hidden] float64: see nn/shift_layer.h
};

struct BottleneckResult {
  at::Tensor y;  // [N, out or, if first > 0, C, H', W'], contiguous
  // Of the batch, biased: [hidden], [hidden], [out], [out] float32; without gradients.
  at::Tensor mean1, variance1, mean2, variance2;
  double count1 = 0, count2 = 0;  // values a channel behind them
};

// Statistics in training are those of all processes that train together (ops/batch_norm_sums.h).
// Gradients for x, weights, gammas, betas, the displacement or depthwise weight, and the scale. With running
// statistics there are none. Throws c10::Error on other shapes, types and strides.
BottleneckResult fused_bottleneck(const Bottleneck& unit);

// The mean of each image's hidden channels behind the spatial operator, [N,hidden], with gradients likewise:
// what squeeze-and-excitation makes `scale` of. The unit's project, scale, residual and removal_cost do not
// matter.
at::Tensor pooled_hidden(const Bottleneck& unit);

// Whether this processor has the kernels (AVX-512 or AVX2).
bool has_fused_bottleneck();
// For products of bfloat16s: kPairs on a processor that has instructions for them (AVX512-BF16), else kBf16,
// which multiplies the same rounded numbers as floats.
PlanarOperands bf16_operands();

}  // namespace fewshift
