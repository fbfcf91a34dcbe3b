// SPDX-License-Identifier: Apache-2.0
#include "nn/displacements.h"

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace fewshift {
namespace {

void set(ShiftLayer layer, const std::vector<float>& u) {
  torch::NoGradGuard no_grad;
  layer->displacement.copy_(torch::tensor(u).view_as(layer->displacement));
  layer->start.copy_(layer->displacement);
}

std::vector<float> symmetric(int64_t channels, double reach, Random& random) {
  std::vector<float> u(2 * channels);
  for (float& v : u) v = static_cast<float>(random.uniform(-reach, reach));
  return u;
}

std::vector<float> whole_grid(int64_t channels) {
  std::vector<float> u(2 * channels);
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t cell = c * 9 / channels;
    u[2 * c] = static_cast<float>(cell / 3 - 1);
    u[2 * c + 1] = static_cast<float>(cell % 3 - 1);
  }
  return u;
}

std::vector<float> grid(int64_t channels, Random& random) {
  std::vector<float> u = whole_grid(channels);
  for (float& v : u) v = static_cast<float>(v + random.uniform(-0.49, 0.49));
  return u;
}

torch::Tensor is_zero(const torch::Tensor& displacement) {
  return (displacement.detach().round() == 0).all(1);
}

}  // namespace

void start_displacements(Network& network, const std::string& start, double reach, uint64_t seed) {
  uint64_t index = 0;
  for (const NamedShift& named : network->shifts()) {
    Random random{seed, 0x5417, index++};
    const int64_t channels = named.layer->displacement.size(0);
    if (start == "symmetric") {
      set(named.layer, symmetric(channels, reach, random));
    } else if (start == "grid") {
      set(named.layer, grid(channels, random));
    } else if (start == "zero") {
      set(named.layer, std::vector<float>(2 * channels));
    } else {
      throw Error(ErrorCode::kInvalidArgument, "shift.start",
                  "\"" + start + "\" is not one of symmetric, grid, zero");
    }
  }
}

void fix_random_shifts(Network& network, const std::vector<double>& layer_sparsity, uint64_t seed) {
  uint64_t index = 0;
  for (const NamedShift& named : network->shifts()) {
    Random random{seed, 0xF1C5, index};
    const int64_t channels = named.layer->displacement.size(0);
    std::vector<int64_t> order(channels);
    std::iota(order.begin(), order.end(), 0);
    shuffle(order, random);
    const auto moving = std::llround((1.0 - layer_sparsity.at(index++)) * static_cast<double>(channels));
    std::vector<float> u(2 * channels);
    for (int64_t k = 0; k < moving; ++k) {
      const uint64_t direction = random.below(8), cell = direction < 4 ? direction : direction + 1;
      u[2 * order[k]] = static_cast<float>(cell / 3) - 1;
      u[2 * order[k] + 1] = static_cast<float>(cell % 3) - 1;
    }
    set(named.layer, u);
    named.layer->displacement.requires_grad_(false);
  }
}

void fix_grid_shifts(Network& network) {
  for (const NamedShift& named : network->shifts()) {
    set(named.layer, whole_grid(named.layer->displacement.size(0)));
    named.layer->displacement.requires_grad_(false);
  }
}

std::vector<double> layer_sparsity(const Network& network) {
  std::vector<double> shares;
  for (const NamedShift& named : network->shifts()) {
    shares.push_back(is_zero(named.layer->displacement).to(torch::kDouble).mean().item<double>());
  }
  return shares;
}

double shift_sparsity(const Network& network) {
  int64_t still = 0, channels = 0;
  for (const NamedShift& named : network->shifts()) {
    still += is_zero(named.layer->displacement).sum().item<int64_t>();
    channels += named.layer->displacement.size(0);
  }
  return channels == 0 ? 1.0 : static_cast<double>(still) / static_cast<double>(channels);
}

ShiftChange shift_change(const Network& network) {
  ShiftChange change;
  for (const NamedShift& named : network->shifts()) {
    const auto now = named.layer->displacement.detach().round(), then = named.layer->start.round();
    const auto zero_now = is_zero(now), zero_then = is_zero(then);
    auto number = [](const torch::Tensor& mask) { return mask.sum().item<int64_t>(); };
    change.channels += now.size(0);
    change.moved += number(~zero_now & ~zero_then & (now != then).any(1));
    change.to_zero += number(zero_now & ~zero_then);
    change.from_zero += number(~zero_now & zero_then);
  }
  return change;
}

std::map<std::pair<int64_t, int64_t>, int64_t> shift_histogram(const Network& network, bool at_start) {
  std::map<std::pair<int64_t, int64_t>, int64_t> histogram;
  for (const NamedShift& named : network->shifts()) {
    const auto u =
        (at_start ? named.layer->start : named.layer->displacement.detach()).round().to(torch::kLong).cpu();
    const auto shifts = u.accessor<int64_t, 2>();
    for (int64_t c = 0; c < u.size(0); ++c) ++histogram[{shifts[c][0], shifts[c][1]}];
  }
  return histogram;
}

}  // namespace fewshift
