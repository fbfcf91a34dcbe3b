// The spatial operators of arch/spatial.h as modules.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "arch/spatial.h"

namespace fewshift {

// [N,C,H,W] -> [N,C,ceil(H/stride),ceil(W/stride)], channels_last; each channel from itself alone or from
// others, as it likes.
struct SpatialModule : torch::nn::Module {
  virtual torch::Tensor forward(const torch::Tensor& x) = 0;
};

// 3x3, without bias.
struct DepthwiseLayer : SpatialModule {
  DepthwiseLayer(int64_t channels, int64_t stride);
  torch::Tensor forward(const torch::Tensor& x) override;
  torch::Tensor weight;  // [C,1,3,3]
  int64_t stride;
};

using MakeSpatial = std::function<std::shared_ptr<SpatialModule>(int64_t channels, int64_t stride)>;

// The module of the operator `name`. Throws Error (kInvalidArgument) where there is none.
std::shared_ptr<SpatialModule> make_spatial(const std::string& name, int64_t channels, int64_t stride);

// Another operator, from a program of one's own: see docs/adding_a_layer.md. Also adds it to arch's table.
void add_spatial_operator(const SpatialOperator& added, MakeSpatial make);

}  // namespace fewshift
