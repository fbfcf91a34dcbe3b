// SPDX-License-Identifier: Apache-2.0
#include "nn/network.h"

namespace fewshift {
namespace {

void init_weights(torch::nn::Module& network) {
  torch::NoGradGuard no_grad;
  for (const auto& module : network.modules(false)) {
    if (auto* conv = module->as<torch::nn::Conv2d>()) {
      torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
      if (conv->bias.defined()) conv->bias.zero_();
      conv->weight.set_data(conv->weight.contiguous(at::MemoryFormat::ChannelsLast));
    } else if (auto* linear = module->as<torch::nn::Linear>()) {
      linear->weight.normal_(0.0, 0.01);
      linear->bias.zero_();
    }
  }
}

}  // namespace

NetworkImpl::NetworkImpl(const Arch& arch, uint64_t seed) : arch_(arch) {
  torch::manual_seed(seed);
  torch::nn::ModuleList list;
  for (const NamedUnit& named : arch.units) {
    units_.push_back(make_unit(named.unit));
    if (named.name.starts_with("units.")) {
      list->push_back(units_.back());
    } else {
      register_module(named.name, units_.back());
    }
    if (SparseShift shift = units_.back()->shift()) shifts_.push_back({named.name + ".shift", shift});
  }
  register_module("units", list);
  init_weights(*this);
}

torch::Tensor NetworkImpl::forward(torch::Tensor x) {
  x = x.contiguous(at::MemoryFormat::ChannelsLast);
  for (const auto& unit : units_) x = unit->forward(x);
  return x;
}

}  // namespace fewshift
