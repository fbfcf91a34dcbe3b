// Two parts of a batch, in two threads that stand for processes, do what the whole batch does in one.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barrier>
#include <thread>

#include "arch/registry.h"
#include "nn/conv_norm.h"
#include "nn/displacements.h"
#include "nn/network.h"
#include "ops/batch_norm_sums.h"

namespace fewshift {
namespace {

using torch::Tensor;

// Adds tensors up over `threads` that all call it.
class Meeting {
 public:
  explicit Meeting(int threads) : barrier_(threads) {}
  void add_up(Tensor& tensor) {
    {
      const std::lock_guard lock(mutex_);
      sum_ = sum_.defined() ? sum_ + tensor : tensor.clone();
    }
    barrier_.arrive_and_wait();
    tensor.copy_(sum_);
    barrier_.arrive_and_wait();
    if (const std::lock_guard lock(mutex_); sum_.defined()) sum_ = Tensor();
    barrier_.arrive_and_wait();
  }

 private:
  std::barrier<> barrier_;
  std::mutex mutex_;
  Tensor sum_;
};

Network network_of(const std::string& model, const std::string& shift) {
  Network network(make_arch(model, 7, shift), 5);
  start_displacements(network, "symmetric", 1.5, 3);
  for (const auto& item : network->named_modules()) {
    if (item.key().ends_with("dropout")) item.value()->eval();
  }
  for (const NamedShift& named : network->shifts())
    ShiftLayer(named.layer)->removal_cost = torch::zeros({named.layer->displacement.size(0)}, torch::kDouble);
  return network;
}

// One step's gradients, with the loss as a sum over the pictures.
Tensor step(Network& network, const Tensor& images, const Tensor& labels) {
  const Tensor logits = network->forward(images);
  torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum).backward();
  return logits.detach();
}

// As near as rounding lets them be: `again` is the same as `right` but for the order of the pictures.
void expect_near(const Tensor& got, const Tensor& right, const Tensor& again, const std::string& name) {
  const auto apart = [&](const Tensor& t) { return (t - right).abs().max().item<double>(); };
  EXPECT_LE(apart(got), 10 * apart(again) + 1e-4 * right.abs().max().item<double>()) << name;
}

struct Case {
  std::string model, shift;
  bool fused;
};

class Parts : public testing::TestWithParam<Case> {};

TEST_P(Parts, OfABatchDoWhatTheWholeDoes) {
  const auto [model, shift, fused] = GetParam();
  set_fused(fused);
  torch::manual_seed(1);
  const Tensor images = torch::randn({12, 3, 32, 32}), labels = torch::randint(7, {12});
  Network whole = network_of(model, shift);
  const Tensor right = step(whole, images, labels);
  Network other = network_of(model, shift);
  const Tensor again = step(other, images.flip(0), labels.flip(0)).flip(0);

  const int64_t bounds[] = {0, 5, 12};
  Network parts[] = {network_of(model, shift), network_of(model, shift)};
  Tensor logits[2];
  Meeting meeting(2);
  set_batch_norm_sums([&](Tensor& tensor) { meeting.add_up(tensor); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      logits[t] = step(parts[t], images.slice(0, bounds[t], bounds[t + 1]),
                       labels.slice(0, bounds[t], bounds[t + 1]));
    });
  }
  for (std::thread& thread : threads) thread.join();
  set_batch_norm_sums({});
  set_fused(true);

  expect_near(torch::cat({logits[0], logits[1]}), right, again, "logits");
  auto all = [](const Network& network) { return network->named_parameters(); };
  for (const auto& item : all(whole)) {
    const std::string& name = item.key();
    expect_near(all(parts[0])[name].grad() + all(parts[1])[name].grad(), item.value().grad(),
                all(other)[name].grad(), name);
  }
  for (const auto& item : whole->named_buffers()) {
    for (Network& part : parts)
      expect_near(part->named_buffers()[item.key()].to(torch::kFloat), item.value().to(torch::kFloat),
                  other->named_buffers()[item.key()].to(torch::kFloat), item.key());
  }
  for (size_t k = 0; k < whole->shifts().size(); ++k) {
    auto cost = [k](const Network& network) { return ShiftLayer(network->shifts()[k].layer)->removal_cost; };
    expect_near(cost(parts[0]) + cost(parts[1]), cost(whole), cost(other),
                whole->shifts()[k].name + " removal cost");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Networks, Parts,
    testing::Values(Case{"shiftresnet20_e3", "ssl", true}, Case{"shiftresnet20_e3", "ssl", false},
                    Case{"shiftresnet20_e3", "depthwise", true}, Case{"fenet_cifar_0.5", "ssl", true},
                    Case{"fenet_cifar_0.5", "asl", false}, Case{"fenet_se_1.375", "ssl", true},
                    Case{"resnet20", "ssl", true}, Case{"mobilenetv4_conv_small", "ssl", true}),
    [](const auto& info) {
      std::string name = info.param.model + "_" + info.param.shift;
      std::replace(name.begin(), name.end(), '.', '_');
      return name + (info.param.fused ? "_fused" : "_plain");
    });

}  // namespace
}  // namespace fewshift
