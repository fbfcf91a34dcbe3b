// What a training may add to plain SGD: mixing, averaging, other optimisers, beginning from another run.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "arch/registry.h"
#include "core/error.h"
#include "nn/displacements.h"
#include "train/average.h"
#include "train/checkpoint.h"
#include "train/initial.h"
#include "train/interval.h"
#include "train/mix.h"
#include "train/weight_optimiser.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

// Picture k is all k, so that every value tells where it comes from.
Tensor numbered(int64_t pictures, int64_t size) {
  return torch::arange(pictures, torch::kFloat).view({pictures, 1, 1, 1}).expand({pictures, 3, size, size});
}

TEST(Mix, WithoutAlphasTheBatchComesBack) {
  const Tensor images = numbered(4, 5), labels = torch::arange(4);
  const Mixed mixed = mix(images, labels, 0, 0);
  EXPECT_TRUE(mixed.images.is_same(images));
  EXPECT_FALSE(mixed.others.defined());
  const Tensor logits = torch::randn({4, 6});
  for (const Tensor& weight : {Tensor(), torch::rand({6}) + 0.5}) {
    EXPECT_TRUE(
        torch::allclose(mixed_loss(logits, mixed, weight, 0.1, counts_of(mixed, weight)),
                        torch::cross_entropy_loss(logits, labels, weight, at::Reduction::Mean, -100, 0.1)));
  }
}

TEST(Mix, MixupBlendsByItsShare) {
  torch::manual_seed(1);
  const Tensor images = numbered(6, 4), labels = torch::arange(6);
  for (int k = 0; k < 20; ++k) {
    const Mixed mixed = mix(images, labels, 0.4, 0);
    const Tensor expected = labels * mixed.share + mixed.others * (1 - mixed.share);
    EXPECT_TRUE(torch::allclose(mixed.images.mean({1, 2, 3}), expected.to(torch::kFloat), 1e-5, 1e-5));
    EXPECT_TRUE(torch::equal(std::get<0>(mixed.others.sort()), labels)) << "each picture is mixed in once";
  }
}

TEST(Mix, CutMixPutsOneRectangleOfTheOtherPicture) {
  torch::manual_seed(2);
  const int64_t size = 9;
  const Tensor images = numbered(6, size), labels = torch::arange(6);
  double shares = 0;
  for (int k = 0; k < 400; ++k) {
    const Mixed mixed = mix(images, labels, 0, 1);
    shares += mixed.share;
    for (int64_t n = 0; n < 6; ++n) {
      if (labels[n].item<int64_t>() == mixed.others[n].item<int64_t>()) continue;
      const Tensor other = mixed.images[n][0] == mixed.others[n];
      EXPECT_NEAR(1 - other.to(torch::kFloat).mean().item<double>(), mixed.share, 1e-6);
      const Tensor rows = other.any(1), columns = other.any(0);  // a full rectangle: its rows times columns
      EXPECT_EQ(other.sum().item<int64_t>(), rows.sum().item<int64_t>() * columns.sum().item<int64_t>());
      EXPECT_TRUE(torch::equal(mixed.images[n][0], mixed.images[n][2]));
    }
  }
  EXPECT_GT(shares / 400, 0.5);  // Beta(1, 1) has mean 1/2, and a rectangle is cut off at the borders
  EXPECT_LT(shares / 400, 0.75);
}

TEST(Mix, BothMeansTakeTurnsAndTheLossIsTheirBlend) {
  torch::manual_seed(3);
  const Tensor images = numbered(4, 8), labels = torch::arange(4), logits = torch::randn({4, 4});
  int cut = 0;
  for (int k = 0; k < 200; ++k) {
    const Mixed mixed = mix(images, labels, 1, 1);
    cut += (mixed.images == mixed.images.round()).all().item<bool>();
    const Tensor target = mixed.share * torch::one_hot(mixed.labels, 4).to(torch::kFloat) +
                          (1 - mixed.share) * torch::one_hot(mixed.others, 4).to(torch::kFloat);
    const Tensor expected = -(target * logits.log_softmax(1)).sum(1).mean();
    EXPECT_TRUE(torch::allclose(mixed_loss(logits, mixed, {}, 0, counts_of(mixed, {})), expected));
  }
  EXPECT_GT(cut, 60);
  EXPECT_LT(cut, 140);
}

TEST(Average, FollowsTheFormulaAndTakesShiftsAsTheyAre) {
  Network network(make_arch("shiftresnet20_e1"), 1), average(make_arch("shiftresnet20_e1"), 2);
  start_displacements(network, "symmetric", 1.5, 3);
  const Tensor before = average->named_parameters()["stem.conv.weight"].detach().clone();
  const Tensor now = network->named_parameters()["stem.conv.weight"].detach();
  update_average(network, 0.9, 0, average);  // d = 1/10 at the first step
  const Tensor after = average->named_parameters()["stem.conv.weight"].detach();
  EXPECT_TRUE(torch::allclose(after, 0.1 * before + 0.9 * now, 1e-5, 1e-7));
  const Tensor once = after.clone();
  update_average(network, 0.9, 1000, average);
  EXPECT_TRUE(torch::allclose(after, 0.9 * once + 0.1 * now, 1e-5, 1e-7));
  for (size_t k = 0; k < network->shifts().size(); ++k) {
    EXPECT_TRUE(
        torch::equal(network->shifts()[k].layer->displacement, average->shifts()[k].layer->displacement));
  }
}

// Against tables of Wilson's interval and of Student's t.
TEST(Interval, IsWhatTheTablesSay) {
  const Interval share = wilson_interval(0.9, 100);
  EXPECT_NEAR(share.low, 0.8256, 1e-4);
  EXPECT_NEAR(share.high, 0.9448, 1e-4);
  const Interval none = wilson_interval(0, 50);
  EXPECT_NEAR(none.low, 0, 1e-9);
  EXPECT_NEAR(none.high, 0.0714, 1e-4);
  const Interval mean = mean_interval({1, 2, 3});  // 2 -+ 4.3027 / sqrt(3)
  EXPECT_NEAR(mean.low, 2 - 2.4841, 1e-3);
  EXPECT_NEAR(mean.high, 2 + 2.4841, 1e-3);
  std::vector<double> many(21, 0);
  many[0] = std::sqrt(21.0);  // standard deviation 1, 20 degrees of freedom: t = 2.0860
  EXPECT_NEAR(mean_interval(many).high - mean_of(many), 2.0860 / std::sqrt(21.0), 1e-3);
}

Recipe recipe_of(const std::string& optimiser) {
  Recipe recipe;
  recipe.optimiser = optimiser;
  return resolved(recipe);
}

void backward(Network& network, int64_t step) {
  torch::manual_seed(static_cast<uint64_t>(step));
  const Tensor x = torch::randn({4, 3, 8, 8});
  torch::cross_entropy_loss(network->forward(x), torch::randint(10, {4}, torch::kLong)).backward();
}

TEST(WeightOptimiser, ItsStateContinuesBitForBit) {
  for (const char* optimiser : {"sgd", "adamw"}) {
    const Recipe recipe = recipe_of(optimiser);
    Network whole(make_arch("shiftresnet20_e1"), 1), parts(make_arch("shiftresnet20_e1"), 1);
    WeightOptimiser one(whole, recipe), first(parts, recipe), second(parts, recipe);
    for (int64_t step = 0; step < 6; ++step) {
      if (step == 3) {
        SafeTensors file;
        first.put("optimiser.", file);
        second.take(file, "optimiser.");
      }
      WeightOptimiser& other = step < 3 ? first : second;
      one.zero_grad(), backward(whole, step), one.step(0.01);
      other.zero_grad(), backward(parts, step), other.step(0.01);
    }
    const auto expected = whole->named_parameters();
    for (const auto& item : parts->named_parameters()) {
      EXPECT_TRUE(torch::equal(item.value(), expected[item.key()])) << optimiser << " " << item.key();
    }
  }
}

TEST(WeightOptimiser, DecaysWeightsAloneAndClipsTheWholeGradient) {
  Network network(make_arch("shiftresnet20_e1"), 1);
  Recipe recipe = recipe_of("sgd");
  recipe.momentum = 0.9;
  recipe.weight_decay = 0.5;
  recipe.clip = 1e-20;  // all gradients clipped away: what moves is moved by the decay
  WeightOptimiser optimiser(network, recipe);
  std::map<std::string, Tensor> before;
  for (const auto& item : network->named_parameters()) before[item.key()] = item.value().detach().clone();
  backward(network, 1);
  optimiser.step(0.1);
  for (const auto& item : network->named_parameters()) {
    const bool decays = item.value().dim() > 1 && !item.key().ends_with(".displacement");
    const double factor = decays ? 1 - 0.1 * 0.5 * 1.9 : 1;  // Nesterov's first step: (1 + momentum)
    EXPECT_TRUE(torch::allclose(item.value(), before[item.key()] * factor, 1e-5, 1e-8)) << item.key();
  }
}

class Initial : public testing::Test {
 protected:
  void SetUp() override {
    file = fs::temp_directory_path() / ("fewshift_initial_" + std::to_string(::getpid()) + ".safetensors");
    Network network(make_arch("shiftresnet20_e1", 3), 1);
    start_displacements(network, "symmetric", 1.5, 4);
    source = network;
    save_model(file, network, {"shiftresnet20_e1", "ssl", {"a", "b", "c"}, default_preprocess(32), {}});
  }
  void TearDown() override { fs::remove(file); }
  static Tensor parameter(const Network& network, const std::string& name) {
    return network->named_parameters()[name];
  }
  std::string refusal(Network& network) {
    try {
      take_initial(read_initial(file), file, {"a", "b", "c"}, true, network);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  fs::path file;
  Network source{nullptr};
};

TEST_F(Initial, TakesAllForTheSameClasses) {
  Network network(make_arch("shiftresnet20_e1", 3), 2);
  const std::string said = take_initial(read_initial(file), file, {"a", "b", "c"}, true, network);
  EXPECT_EQ(said.find("made anew"), std::string::npos) << said;
  for (const auto& item : network->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), parameter(source, item.key()))) << item.key();
  }
}

TEST_F(Initial, MakesTheClassifierAnewForOtherClasses) {
  Network network(make_arch("shiftresnet20_e1", 3), 2), untouched(make_arch("shiftresnet20_e1", 3), 2);
  const std::string said = take_initial(read_initial(file), file, {"a", "b", "d"}, true, network);
  EXPECT_NE(said.find("made anew: classifier.linear.weight, classifier.linear.bias"), std::string::npos)
      << said;
  const std::string last = "classifier.linear.weight", body = "units.4.project.conv.weight";
  EXPECT_TRUE(torch::equal(parameter(network, last), parameter(untouched, last)));
  EXPECT_TRUE(torch::equal(parameter(network, body), parameter(source, body)));
  EXPECT_TRUE(torch::equal(network->shifts()[2].layer->start, source->shifts()[2].layer->displacement));
}

TEST_F(Initial, LeavesShiftsAloneWhereTheyAreNotAskedFor) {
  Network network(make_arch("shiftresnet20_e1", 3), 2);
  take_initial(read_initial(file), file, {"a", "b", "c"}, false, network);
  EXPECT_EQ(network->shifts()[2].layer->displacement.abs().sum().item<float>(), 0);
}

TEST_F(Initial, RefusesWhatDoesNotFit) {
  Network wider(make_arch("shiftresnet20_e3", 3), 2);
  EXPECT_NE(refusal(wider).find("displacement"), std::string::npos) << refusal(wider);
  Network alien(make_arch("fasternet_t0", 4), 2);
  EXPECT_NE(refusal(alien).find("another network's"), std::string::npos) << refusal(alien);
}

}  // namespace
}  // namespace fewshift
