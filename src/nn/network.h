// A whole network, built from its description.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

#include "arch/arch.h"
#include "nn/units.h"

namespace fewshift {

struct NamedShift {
  std::string name;  // "units.3.shift"
  ShiftLayer layer;
};

// Parameters are named as in arch: units.3.expand.conv.weight, units.3.shift.displacement.
struct NetworkImpl : torch::nn::Module {
  // Weights at random from `seed` alone (He's normal, by fan-out); displacements zero.
  NetworkImpl(const Arch& arch, uint64_t seed);
  torch::Tensor forward(torch::Tensor x);  // [N,3,H,W] -> [N,classes] logits

  const Arch& arch() const { return arch_; }
  // Whether all between its stem and its classifier is fused in training on this CPU.
  bool fuses() const;
  // What forward() runs, one after the other: arch().units as modules.
  const std::vector<std::shared_ptr<UnitModule>>& units() const { return units_; }
  // The layers with displacements, in the order of the network.
  const std::vector<NamedShift>& shifts() const { return shifts_; }

 private:
  Arch arch_;
  std::vector<std::shared_ptr<UnitModule>> units_;
  std::vector<NamedShift> shifts_;
};
TORCH_MODULE(Network);

}  // namespace fewshift
