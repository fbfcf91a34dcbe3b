// The units of arch/arch.h as modules. Activations are [N,C,H,W] in channels_last memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <string>

#include "arch/arch.h"
#include "nn/shift_layer.h"

namespace fewshift {

// A unit of any kind.
struct UnitModule : torch::nn::Module {
  virtual torch::Tensor forward(const torch::Tensor& x) = 0;
  // Whether there is an operator that does all of it in training, on a CPU that has the kernels.
  virtual bool fuses() const { return false; }
};

// `shift`: the spatial operator of inverted bottlenecks, a name of arch/spatial.h.
std::shared_ptr<UnitModule> make_unit(const Unit& unit, const std::string& shift = "ssl");

}  // namespace fewshift
