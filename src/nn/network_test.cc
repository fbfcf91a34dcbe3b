// Networks as modules: sizes, names and numbers as their description says.
// SPDX-License-Identifier: Apache-2.0
#include "nn/network.h"

#include <gtest/gtest.h>

#include "arch/count.h"
#include "arch/registry.h"
#include "core/error.h"
#include "nn/conv_norm.h"
#include "nn/displacements.h"

namespace fewshift {
namespace {

using torch::Tensor;

int64_t parameters(const Network& network, bool displacements) {
  int64_t total = 0;
  for (const auto& item : network->named_parameters()) {
    if (item.key().ends_with(".displacement") == displacements) total += item.value().numel();
  }
  return total;
}

TEST(Network, EveryModelHasTheParametersThatAreCounted) {
  for (const RegistryEntry& entry : registry()) {
    if (entry.name.starts_with("shiftresnet110") || entry.name.find("1.375") != std::string::npos) continue;
    const Arch arch = make_arch(entry.name);
    const Network network(arch, 0);
    const Count total = count(arch);
    EXPECT_EQ(parameters(network, false), total.params) << entry.name;
    EXPECT_EQ(parameters(network, true), total.displacements) << entry.name;
  }
}

TEST(Network, NamesAreThoseOfTheLayers) {
  const Arch arch = make_arch("fenet_se_0.5", 10);
  const Network network(arch, 0);
  const auto parameters = network->named_parameters();
  for (const LayerCount& layer : count(arch).layers) {
    if (layer.kind == "average pool") continue;  // has none
    bool found = false;
    for (const auto& item : parameters) found |= item.key().starts_with(layer.name + ".");
    EXPECT_TRUE(found) << layer.name;
  }
  EXPECT_TRUE(parameters.contains("units.0.shift.displacement"));
}

TEST(Network, ClassifiesAnySizeInAnyLayout) {
  torch::NoGradGuard no_grad;
  for (const char* name :
       {"fenet_0.5", "fenet_cifar_se_0.5", "shiftresnet20_e1", "resnet20", "mobilenet_v2_0.5",
        "mobilenetv4_conv_small_cifar", "shufflenet_v2_0.5", "shufflenet_v2_0.5_cifar", "fasternet_t0"}) {
    Network network(make_arch(name, 7), 1);
    network->eval();
    for (int64_t size : {8, 32, 33, 57, 64}) {
      if (size < 32 && std::string(name).starts_with("fasternet")) continue;  // its strides want 32
      const Tensor x = torch::randn({2, 3, size, size});
      const Tensor y = network->forward(x);
      EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 7})) << name << " " << size;
      EXPECT_TRUE(torch::equal(y, network->forward(x.contiguous(at::MemoryFormat::ChannelsLast)))) << name;
    }
  }
}

TEST(Network, AnFeBlocksResidualUnitLetsTheOtherChannelsPass) {
  torch::NoGradGuard no_grad;
  const auto unit = make_unit(InvertedBottleneck{16, 12, 24, 16, Spatial::kShift, Shortcut::kIdentity});
  const Tensor x = torch::randn({2, 16, 5, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor y = unit->forward(x);
  EXPECT_TRUE(torch::equal(y.slice(1, 0, 12), x.slice(1, 0, 12)));
  EXPECT_FALSE(torch::equal(y.slice(1, 12), x.slice(1, 12)));
}

TEST(Network, AnySpatialOperatorStandsInTheSameBody) {
  const Tensor x = torch::randn({2, 3, 17, 17});
  for (const SpatialOperator& op : spatial_operators()) {
    Network network(make_arch("fenet_cifar_0.5", 7, op.name), 1);
    const Count total = count(network->arch());
    EXPECT_EQ(parameters(network, false), total.params) << op.name;
    EXPECT_EQ(parameters(network, true), total.displacements) << op.name;
    EXPECT_EQ(network->shifts().empty(), op.displacements == Displacements::kNone) << op.name;
    const Tensor y = network->forward(x);
    EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 7})) << op.name;
    y.square().sum().backward();
    for (const auto& item : network->named_parameters()) {
      EXPECT_TRUE(!item.value().requires_grad() || item.value().grad().defined()) << item.key();
    }
  }
  EXPECT_THROW(make_arch("fenet_cifar_0.5", 7, "nothing"), Error);
}

TEST(Network, WeightsDependOnTheSeedAlone) {
  const Network a(make_arch("shiftresnet20_e1"), 3), b(make_arch("shiftresnet20_e1"), 3),
      c(make_arch("shiftresnet20_e1"), 4);
  const auto weights = [](const Network& n) { return n->named_parameters()["units.2.expand.conv.weight"]; };
  EXPECT_TRUE(torch::equal(weights(a), weights(b)));
  EXPECT_FALSE(torch::equal(weights(a), weights(c)));
}

// A training step of whole networks, by the one operator and by the three.
TEST(Network, FusedAndPlainAgree) {
  const struct {
    const char *name, *spatial;
  } cases[] = {{"shiftresnet20_e3", "ssl"}, {"shiftresnet20_e3", "asl"},   {"shiftresnet20_e3", "depthwise"},
               {"fenet_cifar_0.5", "ssl"},  {"fenet_cifar_se_0.5", "ssl"}, {"resnet20", "ssl"}};
  for (const auto& [name, spatial] : cases) {
    std::vector<Tensor> gradients[2];
    Tensor logits[2];
    std::vector<Tensor> running[2];
    for (int fused = 0; fused < 2; ++fused) {
      set_fused(fused == 1);
      Network network(make_arch(name, 10, spatial), 5);
      start_displacements(network, "symmetric", 1.5, 5);
      torch::manual_seed(6);
      const Tensor x = torch::randn({8, 3, 16, 16}), labels = torch::randint(10, {8}, torch::kLong);
      logits[fused] = network->forward(x);
      torch::cross_entropy_loss(logits[fused], labels).backward();
      for (const auto& item : network->named_parameters()) gradients[fused].push_back(item.value().grad());
      for (const auto& item : network->named_buffers())
        running[fused].push_back(item.value().to(torch::kFloat));
    }
    set_fused(true);
    EXPECT_TRUE(torch::allclose(logits[0], logits[1], 1e-3, 1e-3)) << name << " " << spatial;
    for (size_t k = 0; k < running[0].size(); ++k)
      EXPECT_TRUE(torch::allclose(running[0][k], running[1][k], 1e-3, 1e-4))
          << name << " " << spatial << " " << k;
    double difference = 0, size = 0;
    for (size_t k = 0; k < gradients[0].size(); ++k) {
      difference += (gradients[0][k] - gradients[1][k]).square().sum().item<double>();
      size += gradients[0][k].square().sum().item<double>();
    }
    EXPECT_LT(std::sqrt(difference / size), 1e-2) << name << " " << spatial;
  }
}

// Products of bfloat16s act in training alone, and change a little.
TEST(Network, MultipliesBfloat16sInTraining) {
  if (!has_fused_bottleneck()) GTEST_SKIP() << "bottlenecks are not fused on this processor";
  for (const char* name : {"shiftresnet20_e3", "fenet_cifar_0.5", "fenet_cifar_se_0.5"}) {
    std::vector<Tensor> gradients[2];
    Tensor logits[2], evaluated[2];
    for (int bf16 = 0; bf16 < 2; ++bf16) {
      set_bf16_products(bf16 == 1);
      Network network(make_arch(name, 10), 5);
      EXPECT_TRUE(network->fuses()) << name;
      start_displacements(network, "symmetric", 1.5, 5);
      torch::manual_seed(6);
      const Tensor x = torch::randn({16, 3, 32, 32}), labels = torch::randint(10, {16}, torch::kLong);
      {
        const torch::NoGradGuard no_grad;
        network->eval();
        evaluated[bf16] = network->forward(x);
        network->train();
      }
      logits[bf16] = network->forward(x);
      torch::cross_entropy_loss(logits[bf16], labels).backward();
      for (const auto& item : network->named_parameters()) gradients[bf16].push_back(item.value().grad());
    }
    set_bf16_products(false);
    EXPECT_TRUE(torch::equal(evaluated[0], evaluated[1])) << name;
    const double change = ((logits[0] - logits[1]).norm() / logits[0].norm()).item<double>();
    EXPECT_GT(change, 1e-5) << name;
    EXPECT_LT(change, 0.05) << name;
    double difference = 0, size = 0;
    for (size_t k = 0; k < gradients[0].size(); ++k) {
      difference += (gradients[0][k] - gradients[1][k]).square().sum().item<double>();
      size += gradients[0][k].square().sum().item<double>();
    }
    EXPECT_GT(difference, 0) << name;
    EXPECT_LT(std::sqrt(difference / size), 0.3) << name;
  }
}

TEST(Network, FusesWhereAllOfItIsFused) {
  set_fused(true);
  for (const char* name : {"shiftresnet20_e3", "fenet_0.5", "fenet_cifar_se_0.5"})
    EXPECT_EQ(Network(make_arch(name), 0)->fuses(), has_fused_bottleneck()) << name;
  for (const char* spatial : {"asl", "gsl", "random", "depthwise"})
    EXPECT_EQ(Network(make_arch("fenet_0.5", 0, spatial), 0)->fuses(), has_fused_bottleneck()) << spatial;
  for (const char* name : {"resnet20", "mobilenet_v2_0.5_cifar", "mobilenetv4_conv_small"})
    EXPECT_FALSE(Network(make_arch(name), 0)->fuses()) << name;
  set_fused(false);
  EXPECT_FALSE(Network(make_arch("fenet_0.5"), 0)->fuses());
  set_fused(true);
}

TEST(Displacements, StartsAreWhatTheySay) {
  Network network(make_arch("shiftresnet20_e3"), 0);
  start_displacements(network, "symmetric", 2.5, 1);
  const Tensor u = network->shifts()[4].layer->displacement;
  EXPECT_LE(u.abs().max().item<float>(), 2.5f);
  EXPECT_GT(u.abs().max().item<float>(), 1.5f);
  EXPECT_LT(u.mean().abs().item<float>(), 0.5f);
  start_displacements(network, "grid", 0, 1);
  EXPECT_NEAR(shift_sparsity(network), 1.0 / 9, 0.02);
  start_displacements(network, "zero", 0, 1);
  EXPECT_EQ(shift_sparsity(network), 1.0);
  EXPECT_THROW(start_displacements(network, "elsewhere", 0, 1), Error);
}

TEST(Displacements, RandomShiftsHaveTheSparsityAskedOfEachLayer) {
  Network network(make_arch("shiftresnet20_e3"), 0);
  std::vector<double> asked;
  for (size_t k = 0; k < network->shifts().size(); ++k) asked.push_back(0.1 * static_cast<double>(k));
  fix_random_shifts(network, asked, 2);
  const auto got = layer_sparsity(network);
  for (size_t k = 0; k < asked.size(); ++k) EXPECT_NEAR(got[k], asked[k], 0.011);
  for (const NamedShift& named : network->shifts()) {
    EXPECT_FALSE(named.layer->displacement.requires_grad());
    EXPECT_LE(named.layer->displacement.abs().max().item<float>(), 1.0f);
  }
  const ShiftChange change = shift_change(network);
  EXPECT_EQ(change.moved + change.to_zero + change.from_zero, 0);
}

TEST(Displacements, GridShiftsAreEqualGroupsOfTheNineMoves) {
  Network network(make_arch("shiftresnet20_e3", 10, "gsl"), 0);
  fix_grid_shifts(network);
  const auto moves = shift_histogram(network, false);
  EXPECT_EQ(moves.size(), 9u);
  for (const auto& [move, channels] : moves) EXPECT_NEAR(channels, 1008.0 / 9, 9) << move.first;
  EXPECT_FALSE(network->shifts()[0].layer->displacement.requires_grad());
}

TEST(Displacements, ChangesAreCounted) {
  Network network(make_arch("shiftresnet20_e1"), 0);
  torch::NoGradGuard no_grad;
  auto layer = network->shifts()[0].layer;
  layer->start.copy_(torch::zeros_like(layer->start));
  layer->start[0][0] = 1.2, layer->start[1][1] = -2.0;
  layer->displacement.copy_(layer->start);
  layer->displacement[0][1] = 1.0;   // another shift
  layer->displacement[1][1] = -0.4;  // none
  layer->displacement[2][0] = 0.6;   // from none
  layer->displacement[3][0] = 0.4;   // still none
  const ShiftChange change = shift_change(network);
  EXPECT_EQ(change.moved, 1);
  EXPECT_EQ(change.to_zero, 1);
  EXPECT_EQ(change.from_zero, 1);
}

TEST(SparseShiftModule, PenaltyIsTheL1NormAndPullsTowardsZero) {
  ShiftLayer layer(2, 1);
  {
    torch::NoGradGuard no_grad;
    layer->displacement.copy_(torch::tensor({{1.5, -0.25}, {0.0, -2.0}}));
  }
  layer->penalty().backward();
  EXPECT_EQ(layer->penalty().item<float>(), 3.75f);
  EXPECT_TRUE(torch::equal(layer->displacement.grad(), torch::tensor({{1.0f, -1.0f}, {0.0f, -1.0f}})));
}

// The first-order cost of not shifting a channel, against the loss itself with its shift taken away.
TEST(SparseShiftModule, RemovalCostIsTheFirstOrderChangeOfTheLoss) {
  torch::manual_seed(8);
  ShiftLayer layer(4, 1);
  {
    torch::NoGradGuard no_grad;
    layer->displacement.copy_(torch::tensor({{1.0, 0.0}, {0.0, 0.0}, {-1.0, 2.0}, {0.0, -1.0}}));
  }
  layer->removal_cost = torch::zeros({4}, torch::kDouble);
  const Tensor x = torch::randn({3, 4, 6, 6}), g = torch::randn({3, 4, 6, 6});
  const Tensor y = layer->forward(x);
  (y * g).sum().backward();  // a linear loss: first order is exact
  const Tensor expected = ((x - y.detach()) * g).sum({2, 3}).square().sum(0);
  EXPECT_TRUE(torch::allclose(layer->removal_cost, expected.to(torch::kDouble), 1e-4, 1e-4));
  EXPECT_EQ(layer->removal_cost[1].item<double>(), 0);
}

}  // namespace
}  // namespace fewshift
