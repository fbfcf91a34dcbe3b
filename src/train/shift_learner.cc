// SPDX-License-Identifier: Apache-2.0
#include "train/shift_learner.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <tuple>

#include "arch/spatial.h"

namespace fewshift {
namespace {

using torch::Tensor;

constexpr int kPruneStrides = 8;
constexpr int64_t kMeasuredSteps = 50;  // before each pruning
constexpr double kBeta1 = 0.9, kBeta2 = 0.99, kEpsilon = 1e-12;

Tensor still(const ShiftLayer& shift) {
  return (shift->displacement.detach().round() == 0).all(1);
}

}  // namespace

ShiftLearner::ShiftLearner(Network network, const Recipe& recipe, int64_t steps, World& world)
    : network_(network),
      recipe_(recipe),
      world_(world),
      steps_(steps),
      active_(spatial_operator(recipe.shift).displacements == Displacements::kLearned &&
              (recipe.init.empty() || recipe.shift_init != "keep")),
      freeze_step_(std::llround(recipe.freeze_from * static_cast<double>(steps))) {
  for (const NamedShift& named : network->shifts()) {
    const int64_t C = named.layer->displacement.size(0);
    const auto here = torch::TensorOptions(named.layer->displacement.device());
    layers_.push_back({named.name, named.layer, torch::zeros({C, 2}, here), torch::zeros({C, 2}, here),
                       torch::ones({C, 1}, here), torch::zeros({C}, here.dtype(torch::kDouble))});
  }
  if (recipe.sparsity < 0 || recipe.shift != "ssl" || !active_ || layers_.empty()) return;
  for (int k = 1; k <= kPruneStrides; ++k) {
    const double share = static_cast<double>(k) / kPruneStrides;
    const double at = recipe.prune_from + (recipe.prune_until - recipe.prune_from) * share;
    const auto step = std::clamp<int64_t>(std::llround(at * static_cast<double>(steps)) - 1, 0, steps - 1);
    if (!events_.empty() && events_.back().step == step) events_.pop_back();
    events_.push_back({step, recipe.sparsity * (1 - (1 - share) * (1 - share))});
  }
  // Once the target is reached nothing may leave it.
  freeze_step_ = std::min(freeze_step_, events_.back().step + 1);
}

void ShiftLearner::before_step(int64_t step) {
  if (!active_) return;
  const auto next =
      std::find_if(events_.begin(), events_.end(), [&](const Event& e) { return e.step >= step; });
  bool measure = next != events_.end() && step > next->step - kMeasuredSteps;
  if (measure && next != events_.begin()) measure = step > std::prev(next)->step;
  for (Layer& layer : layers_) {
    layer.shift->displacement.requires_grad_(step < freeze_step_);
    layer.shift->removal_cost = measure ? layer.cost : Tensor();
  }
}

void ShiftLearner::after_step(int64_t step, double learning_rate) {
  if (!active_) return;
  torch::NoGradGuard no_grad;
  if (step < freeze_step_) {
    for (Layer& layer : layers_) update(layer, step, learning_rate);
  }
  prune_until(step);
}

void ShiftLearner::finish() {
  torch::NoGradGuard no_grad;
  prune_until(steps_);
}

void ShiftLearner::prune_until(int64_t step) {
  for (; done_ < events_.size() && events_[done_].step <= step; ++done_) {
    prune(events_[done_].sparsity, done_ + 1 == events_.size());
  }
}

double ShiftLearner::penalty(int64_t step) const {
  const double done = static_cast<double>(step) / static_cast<double>(steps_) - recipe_.penalty_delay;
  if (done < 0) return 0;
  return recipe_.penalty * (recipe_.penalty_ramp > 0 ? std::min(1.0, done / recipe_.penalty_ramp) : 1.0);
}

void ShiftLearner::update(Layer& layer, int64_t step, double learning_rate) {
  Tensor& u = layer.shift->displacement;
  if (!u.grad().defined()) return;
  const Tensor grad = recipe_.shift_weight_decay > 0 ? u.grad() + recipe_.shift_weight_decay * u : u.grad();
  if (recipe_.shift_optimiser == "adam") {
    const double done = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, freeze_step_));
    adam(layer, grad, step, recipe_.rate * 0.5 * (1 + std::cos(std::numbers::pi * done)), penalty(step));
  } else {
    sgd(layer, grad, recipe_.rate * learning_rate, penalty(step));
  }
  u.mul_(layer.kept);
  u.mutable_grad() = Tensor();
}

// Adam, then the penalty as a pull towards zero of its own (soft threshold), so that it is not scaled by
// channel.
void ShiftLearner::adam(Layer& layer, const Tensor& grad, int64_t step, double rate, double penalty) {
  Tensor& u = layer.shift->displacement;
  layer.first.mul_(kBeta1).add_(grad, 1 - kBeta1);
  layer.second.mul_(kBeta2).addcmul_(grad, grad, 1 - kBeta2);
  const double t = static_cast<double>(step + 1);
  const double scale1 = 1 - std::pow(kBeta1, t), scale2 = 1 - std::pow(kBeta2, t);
  u.sub_(rate * (layer.first / scale1) / ((layer.second / scale2).sqrt() + kEpsilon));
  if (penalty > 0) u.copy_(u.sign() * (u.abs() - rate * penalty).clamp_min(0));
}

void ShiftLearner::sgd(Layer& layer, const Tensor& grad, double rate, double penalty) {
  Tensor& u = layer.shift->displacement;
  const Tensor slope = grad + penalty * u.sign();
  layer.first.mul_(recipe_.momentum).add_(slope);
  u.sub_(slope + recipe_.momentum * layer.first, rate);
}

void ShiftLearner::add_up_costs() {
  if (world_.alone() || layers_.empty()) return;
  std::vector<Tensor> costs;
  for (const Layer& layer : layers_) costs.push_back(layer.cost);
  Tensor all = torch::cat(costs);
  world_.add_up(all);
  int64_t at = 0;
  for (Layer& layer : layers_) {
    layer.cost.copy_(all.narrow(0, at, layer.cost.numel()));
    at += layer.cost.numel();
  }
}

void ShiftLearner::prune(double sparsity, bool last) {
  add_up_costs();
  struct Channel {
    double cost, size;
    size_t layer;
    int64_t channel;
  };
  std::vector<Channel> channels;
  int64_t total = 0, unshifted = 0;
  for (size_t k = 0; k < layers_.size(); ++k) {
    const Tensor zero = still(layers_[k].shift).cpu(), cost = layers_[k].cost.cpu();
    const Tensor size = layers_[k].shift->displacement.detach().abs().amax(1).cpu();
    for (int64_t c = 0; c < zero.size(0); ++c) {
      ++total;
      if (zero[c].item<bool>()) {
        ++unshifted;
      } else {
        channels.push_back({cost[c].item<double>(), size[c].item<double>(), k, c});
      }
    }
  }
  const int64_t wanted = std::llround(sparsity * static_cast<double>(total));
  std::sort(channels.begin(), channels.end(), [](const Channel& a, const Channel& b) {
    return std::tie(a.cost, a.size, a.layer, a.channel) < std::tie(b.cost, b.size, b.layer, b.channel);
  });
  for (int64_t k = 0; k < std::min<int64_t>(wanted - unshifted, static_cast<int64_t>(channels.size())); ++k) {
    Layer& layer = layers_[channels[k].layer];
    layer.shift->displacement[channels[k].channel].zero_();
    layer.kept[channels[k].channel].zero_();
  }
  if (last && unshifted > wanted) wake(unshifted - wanted);
  for (Layer& layer : layers_) layer.cost.zero_();
}

void ShiftLearner::wake(int64_t number) {
  struct Sleeper {
    double size;
    size_t layer;
    int64_t channel;
  };
  std::vector<Sleeper> sleepers;
  for (size_t k = 0; k < layers_.size(); ++k) {
    const Tensor zero = still(layers_[k].shift).cpu();
    const Tensor size = layers_[k].shift->displacement.detach().abs().amax(1).cpu();
    for (int64_t c = 0; c < zero.size(0); ++c) {
      if (zero[c].item<bool>()) sleepers.push_back({-size[c].item<double>(), k, c});
    }
  }
  std::sort(sleepers.begin(), sleepers.end(), [](const Sleeper& a, const Sleeper& b) {
    return std::tie(a.size, a.layer, a.channel) < std::tie(b.size, b.layer, b.channel);
  });
  for (int64_t k = 0; k < number; ++k) {
    Tensor u = layers_[sleepers[k].layer].shift->displacement[sleepers[k].channel];
    const int64_t axis = u.abs().argmax().item<int64_t>();
    const double direction = u[axis].item<double>() < 0 ? -1 : 1;
    u.zero_();
    u[axis].fill_(direction);
    layers_[sleepers[k].layer].kept[sleepers[k].channel].fill_(1);
  }
}

std::map<std::string, Tensor> ShiftLearner::state() {
  std::map<std::string, Tensor> state;
  add_up_costs();
  for (const Layer& layer : layers_) {
    state[layer.name + ".first"] = layer.first;
    state[layer.name + ".second"] = layer.second;
    state[layer.name + ".kept"] = layer.kept;
    state[layer.name + ".cost"] = layer.cost.clone();
    if (!world_.leads()) layer.cost.zero_();  // rank 0 keeps the sum
  }
  state["done"] = torch::tensor(static_cast<int64_t>(done_));
  return state;
}

void ShiftLearner::load_state(const std::map<std::string, Tensor>& state) {
  for (Layer& layer : layers_) {
    layer.first.copy_(state.at(layer.name + ".first"));
    layer.second.copy_(state.at(layer.name + ".second"));
    layer.kept.copy_(state.at(layer.name + ".kept"));
    layer.cost.copy_(state.at(layer.name + ".cost"));
    if (!world_.leads()) layer.cost.zero_();
  }
  done_ = static_cast<size_t>(state.at("done").item<int64_t>());
}

}  // namespace fewshift
