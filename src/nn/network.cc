// SPDX-License-Identifier: Apache-2.0
#include "nn/network.h"

#include <cmath>

#include "nn/conv_norm.h"

namespace fewshift {
namespace {

void init_weights(torch::nn::Module& network) {
  torch::NoGradGuard no_grad;
  for (const auto& module : network.modules(false)) {
    if (auto* conv = module->as<torch::nn::Conv2d>()) {
      if (conv->options.groups() == 1) {
        torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
      } else {  // LibTorch's fan counts the other groups too
        const auto fan = static_cast<double>(conv->weight[0].numel() / conv->weight.size(1) *
                                             conv->weight.size(0) / conv->options.groups());
        conv->weight.normal_(0.0, std::sqrt(2 / fan));
      }
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
    units_.push_back(make_unit(named.unit, arch.shift));
    if (named.name.starts_with("units.")) {
      list->push_back(units_.back());
    } else {
      register_module(named.name, units_.back());
    }
  }
  register_module("units", list);
  for (const auto& item : named_modules("", false)) {
    if (auto shift = std::dynamic_pointer_cast<ShiftLayerImpl>(item.value())) {
      shifts_.push_back({item.key(), ShiftLayer(shift)});
    }
  }
  init_weights(*this);
}

bool NetworkImpl::fuses() const {
  bool any = false;
  for (size_t k = 0; k < units_.size(); ++k) {
    const Unit& unit = arch_.units[k].unit;
    const bool outer = std::holds_alternative<ConvBn>(unit) || std::holds_alternative<MaxPool>(unit) ||
                       std::holds_alternative<Classifier>(unit);
    if (!outer && !units_[k]->fuses()) return false;
    any = any || !outer;
  }
  return any && is_fused() && has_fused_bottleneck();
}

torch::Tensor NetworkImpl::forward(torch::Tensor x) {
  x = x.contiguous(at::MemoryFormat::ChannelsLast);
  for (const auto& unit : units_) x = unit->forward(x);
  return x;
}

}  // namespace fewshift
