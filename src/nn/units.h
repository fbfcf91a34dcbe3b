// The units of arch/arch.h as modules. Activations are [N,C,H,W] in channels_last memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "arch/arch.h"
#include "nn/sparse_shift.h"

namespace fewshift {

// A convolution without bias, and batch norm.
struct ConvNormImpl : torch::nn::Module {
  ConvNormImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride);
  torch::Tensor forward(const torch::Tensor& x);
  // ReLU behind it, and a sparse shift where `shift` is one: as one operator where there is one (float32,
  // channels_last, CPU), else as three.
  torch::Tensor forward_relu_shift(const torch::Tensor& x, const SparseShift& shift = nullptr);

  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
};
TORCH_MODULE(ConvNorm);

// Squeeze-and-excitation: scales each channel by sigmoid(expand(relu(reduce(its mean)))).
struct SqueezeExciteImpl : torch::nn::Module {
  SqueezeExciteImpl(int64_t channels, int64_t reduction);
  torch::Tensor forward(const torch::Tensor& x);

  torch::nn::Conv2d reduce{nullptr}, expand{nullptr};
};
TORCH_MODULE(SqueezeExcite);

// A unit of any kind.
struct UnitModule : torch::nn::Module {
  virtual torch::Tensor forward(const torch::Tensor& x) = 0;
  virtual SparseShift shift() const { return nullptr; }  // where it has one
};

std::shared_ptr<UnitModule> make_unit(const Unit& unit);

// Whether forward_relu_shift may use the one operator (default). For comparing the two.
void set_fused(bool fused);

}  // namespace fewshift
