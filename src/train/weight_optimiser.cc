// SPDX-License-Identifier: Apache-2.0
#include "train/weight_optimiser.h"

#include "train/checkpoint.h"

namespace fewshift {
namespace {

using torch::Tensor;
namespace optim = torch::optim;

template <class Optimiser, class Options>
std::unique_ptr<optim::Optimizer> make(const std::vector<Tensor>& decayed, const std::vector<Tensor>& plain,
                                       const Options& options, double weight_decay) {
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<Options>(Options(options).weight_decay(weight_decay)));
  groups.emplace_back(plain, std::make_unique<Options>(Options(options).weight_decay(0)));
  return std::make_unique<Optimiser>(groups, options);
}

// In the parameter's own memory layout, as an uninterrupted run would have it.
Tensor like(const Tensor& parameter, const RawTensor& raw) {
  return torch::empty_like(parameter).copy_(from_raw(raw));
}

}  // namespace

WeightOptimiser::WeightOptimiser(const Network& network, const Recipe& recipe)
    : network_(network), clip_(recipe.clip) {
  std::vector<Tensor> decayed, plain;
  for (const auto& item : network_->named_parameters()) {
    if (item.key().ends_with(".displacement")) continue;
    (item.value().dim() > 1 ? decayed : plain).push_back(item.value());
  }
  if (recipe.optimiser == "adamw") {
    const auto options = optim::AdamWOptions(recipe.learning_rate).betas({recipe.momentum, 0.999});
    optimiser_ = make<optim::AdamW>(decayed, plain, options, recipe.weight_decay);
  } else {
    const auto options = optim::SGDOptions(recipe.learning_rate).momentum(recipe.momentum).nesterov(true);
    optimiser_ = make<optim::SGD>(decayed, plain, options, recipe.weight_decay);
  }
}

void WeightOptimiser::step(double learning_rate) {
  std::vector<Tensor> all;
  for (auto& group : optimiser_->param_groups()) {
    group.options().set_lr(learning_rate);
    if (clip_ > 0) all.insert(all.end(), group.params().begin(), group.params().end());
  }
  if (clip_ > 0) torch::nn::utils::clip_grad_norm_(all, clip_);
  optimiser_->step();
}

void WeightOptimiser::put(const std::string& prefix, SafeTensors& file) const {
  for (const auto& item : network_->named_parameters()) {
    const auto found = optimiser_->state().find(item.value().unsafeGetTensorImpl());
    if (found == optimiser_->state().end()) continue;
    if (const auto* sgd = dynamic_cast<optim::SGDParamState*>(found->second.get())) {
      file.tensors[prefix + "momentum." + item.key()] = to_raw(sgd->momentum_buffer());
    } else {
      const auto& adamw = dynamic_cast<optim::AdamWParamState&>(*found->second);
      file.tensors[prefix + "first." + item.key()] = to_raw(adamw.exp_avg());
      file.tensors[prefix + "second." + item.key()] = to_raw(adamw.exp_avg_sq());
      file.tensors[prefix + "step." + item.key()] = to_raw(torch::tensor(adamw.step()));
    }
  }
}

void WeightOptimiser::take(const SafeTensors& file, const std::string& prefix) {
  for (const auto& item : network_->named_parameters()) {
    const Tensor& parameter = item.value();
    auto& state = optimiser_->state()[parameter.unsafeGetTensorImpl()];
    const auto momentum = file.tensors.find(prefix + "momentum." + item.key());
    if (momentum != file.tensors.end()) {
      auto sgd = std::make_unique<optim::SGDParamState>();
      sgd->momentum_buffer(like(parameter, momentum->second));
      state = std::move(sgd);
    } else if (const auto first = file.tensors.find(prefix + "first." + item.key());
               first != file.tensors.end()) {
      auto adamw = std::make_unique<optim::AdamWParamState>();
      adamw->exp_avg(like(parameter, first->second));
      adamw->exp_avg_sq(like(parameter, file.tensors.at(prefix + "second." + item.key())));
      adamw->step(from_raw(file.tensors.at(prefix + "step." + item.key())).item<int64_t>());
      state = std::move(adamw);
    } else {
      optimiser_->state().erase(parameter.unsafeGetTensorImpl());
    }
  }
}

}  // namespace fewshift
