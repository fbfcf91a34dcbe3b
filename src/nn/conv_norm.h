// Convolution, batch norm, activation and shift: what every unit is made of.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

#include "arch/arch.h"
#include "nn/shift_layer.h"
#include "ops/bottleneck.h"

namespace fewshift {

// Batch norm; in training its statistics are those of all processes that train together
// (ops/batch_norm_sums.h).
torch::Tensor normalise(torch::nn::BatchNorm2dImpl& norm, const torch::Tensor& x);

torch::Tensor activate(const torch::Tensor& x, Activation activation);

struct ConvNormImpl : torch::nn::Module {
  explicit ConvNormImpl(const ConvBn& unit);
  torch::Tensor forward(const torch::Tensor& x) { return forward_shift(x, nullptr); }
  // A sparse shift behind it where `shift` is one. ReLU and shift run as one operator with batch norm where
  // there is one (float32, channels_last, CPU).
  torch::Tensor forward_shift(const torch::Tensor& x, const ShiftLayer& shift);

  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  Activation activation;
};
TORCH_MODULE(ConvNorm);

// Whether units may use operators that fuse theirs (default), or each goes by itself, for comparing the two.
// Returns whether bottlenecks will be fused: not on every processor.
bool set_fused(bool fused);
bool is_fused();

// What the backward pass of fused bottlenecks reads of their hidden activations (ops/bottleneck.h): one of
// kHiddenNames. Any other: Error (kInvalidArgument).
inline const std::vector<std::string> kHiddenNames = {"auto", "recompute", "float32", "bf16"};
void set_hidden(const std::string& name);
// For a bottleneck that reads so many channels: with few, making it again takes less than bfloat16's way to
// memory.
Bottleneck::Hidden hidden(int64_t width);

// Whether the products of fused bottlenecks in training are of bfloat16s (Bottleneck::operands). Default:
// float32.
void set_bf16_products(bool bf16);
bool bf16_products();

// The running statistics, from a batch's mean and biased variance over so many pixels.
void track_moments(torch::nn::BatchNorm2dImpl& norm, const torch::Tensor& mean, const torch::Tensor& variance,
                   double pixels);

}  // namespace fewshift
