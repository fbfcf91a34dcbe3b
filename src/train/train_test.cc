// Recipes, checkpoints, and the learner of shifts.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "arch/registry.h"
#include "core/error.h"
#include "core/file.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/recipe.h"
#include "train/shift_learner.h"

namespace fewshift {
namespace {

World g_alone;

namespace fs = std::filesystem;

class TrainTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("fewshift_train_test_" + std::to_string(::getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }
  fs::path write(const std::string& name, const std::string& text) {
    write_file_atomic(folder / name, text);
    return folder / name;
  }
  fs::path folder;
};

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(TrainTest, ARecipeReadsBackAsItWasWritten) {
  Recipe recipe;
  recipe.model = "fenet_0.5";
  recipe.data = "a \"folder\" with ümlauts";
  recipe.learning_rate = 0.1 + 0.2;
  recipe.flip = false;
  const fs::path file = write("a.toml", format_recipe(recipe));
  Recipe back;
  read_recipe(file, back);
  EXPECT_EQ(format_recipe(back), format_recipe(recipe));
  EXPECT_EQ(back.learning_rate, recipe.learning_rate);
}

TEST_F(TrainTest, ARecipeMayNameAFewFieldsAlone) {
  Recipe recipe;
  read_recipe(write("a.toml", "[train]\nepochs = 3\n[shift]\nrate = 1\n"), recipe);
  EXPECT_EQ(recipe.epochs, 3);
  EXPECT_EQ(recipe.rate, 1.0);
  EXPECT_EQ(recipe.batch, Recipe{}.batch);
}

TEST_F(TrainTest, AWrongRecipeIsNamed) {
  Recipe recipe;
  EXPECT_NE(message([&] {
              read_recipe(write("a.toml", "[train]\nepoch = 3\n"), recipe);
            }).find("unknown key train.epoch"),
            std::string::npos);
  EXPECT_NE(message([&] { read_recipe(write("a.toml", "epochs = 3\n"), recipe); }).find("unknown key epochs"),
            std::string::npos);
  EXPECT_NE(message([&] {
              read_recipe(write("a.toml", "[train]\nepochs = \"3\"\n"), recipe);
            }).find("train.epochs must be a whole number"),
            std::string::npos);
  EXPECT_NE(message([&] { read_recipe(write("a.toml", "[train\n"), recipe); }).find("a.toml: line 1"),
            std::string::npos);
  EXPECT_NE(message([&] { read_recipe(folder / "none.toml", recipe); }).find("none.toml"), std::string::npos);
}

TEST_F(TrainTest, SingleFieldsAreSetFromText) {
  Recipe recipe;
  set_field(recipe, "shift.rate", "0.25", "shift.rate");
  set_field(recipe, "data.crop", "none", "data.crop");
  set_field(recipe, "data.flip", "false", "data.flip");
  EXPECT_EQ(recipe.rate, 0.25);
  EXPECT_EQ(recipe.crop, "none");
  EXPECT_FALSE(recipe.flip);
  EXPECT_NE(message([&] { set_field(recipe, "shift.speed", "1", "shift.speed"); }).find("shift.speed"),
            std::string::npos);
  EXPECT_NE(message([&] { set_field(recipe, "train.epochs", "many", "train.epochs"); }), "");
  EXPECT_NE(message([&] { set_field(recipe, "train.epochs", "1\nbatch = 3", "train.epochs"); }), "");
  EXPECT_EQ(recipe.batch, 64);
}

TEST_F(TrainTest, ValuesOutOfRangeAreNamed) {
  auto fault = [](auto change) {
    Recipe recipe;
    recipe.model = "m";
    recipe.data = "d";
    change(recipe);
    return message([&] { check_recipe(recipe); });
  };
  EXPECT_EQ(fault([](Recipe&) {}), "");
  EXPECT_NE(fault([](Recipe& r) { r.epochs = 0; }).find("--epochs"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.sparsity = 1.5; }).find("--shift-sparsity"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.shift = "sideways"; }).find("--shift"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.optimiser = "lion"; }).find("--optimiser"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.ema = 1; }).find("--ema"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.erasing = 2; }).find("--erasing"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.freeze_body = -1, r.init = "x"; }).find("--freeze-body"),
            std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.learning_rate = std::nan(""); }).find("--lr"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.mixup = 1e300; }).find("--mixup"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.freeze_body = 1; }).find("--init"), std::string::npos);
  EXPECT_NE(fault([](Recipe& r) { r.model = ""; }).find("--model"), std::string::npos);
}

ModelInfo info() {
  return {"shiftresnet20_e1", "ssl", {"cat", "dög"}, default_preprocess(32), {{"epoch", "3"}}};
}

TEST_F(TrainTest, ACheckpointReadsBackBitForBit) {
  Network network(make_arch("shiftresnet20_e1", 2), 1);
  start_displacements(network, "symmetric", 1.5, 2);
  save_model(folder / "best.safetensors", network, info());
  const TrainedModel model = load_model(folder);
  EXPECT_EQ(model.info.class_names, info().class_names);
  EXPECT_EQ(model.info.notes.at("epoch"), "3");
  EXPECT_EQ(model.info.preprocess.size, 32);
  const auto before = network->named_parameters();
  for (const auto& item : model.network->named_parameters())
    EXPECT_TRUE(torch::equal(item.value(), before[item.key()]));
  EXPECT_FALSE(model.network->is_training());
}

TEST_F(TrainTest, AWrongCheckpointIsNamed) {
  Network network(make_arch("shiftresnet20_e3", 2), 1);
  save_model(folder / "other.safetensors", network, info());  // says e1, holds e3
  EXPECT_NE(message([&] { load_model(folder / "other.safetensors"); }).find("another model"),
            std::string::npos);
  SafeTensors file = read_safetensors(folder / "other.safetensors");
  for (const char* key : {"format", "model", "class_names", "preprocess"}) {
    SafeTensors lacking = file;
    lacking.metadata.erase(key);
    write_safetensors(folder / "lacking.safetensors", lacking);
    EXPECT_NE(message([&] { load_model(folder / "lacking.safetensors"); }).find(key), std::string::npos);
  }
  file.metadata["class_names"] = "[1]";
  write_safetensors(folder / "names.safetensors", file);
  EXPECT_NE(message([&] { load_model(folder / "names.safetensors"); }).find("class_names"),
            std::string::npos);
  write("cut.safetensors", read_file(folder / "other.safetensors").substr(0, 1000));
  EXPECT_NE(message([&] { load_model(folder / "cut.safetensors"); }).find("cut.safetensors"),
            std::string::npos);
  fs::create_directory(folder / "empty");
  EXPECT_NE(message([&] { load_model(folder / "empty"); }).find("empty"), std::string::npos);
  EXPECT_NE(message([&] { load_model(folder / "nowhere"); }).find("nowhere"), std::string::npos);
}

// A toy training: random gradients, so that only the learner's own doings are seen.
double learn(Network& network, const Recipe& recipe, int64_t steps) {
  ShiftLearner learner(network, recipe, steps, g_alone);
  torch::manual_seed(3);
  network->train();
  for (int64_t step = 0; step < steps; ++step) {
    learner.before_step(step);
    const auto x = torch::randn({4, 3, 8, 8});
    network->zero_grad();
    torch::cross_entropy_loss(network->forward(x), torch::randint(10, {4}, torch::kLong)).backward();
    learner.after_step(step, 0.1);
  }
  return shift_sparsity(network);
}

TEST_F(TrainTest, AnySparsityThatIsAskedForIsReached) {
  for (double target : {0.0, 0.05, 0.3, 0.6, 0.9, 1.0}) {
    for (int64_t steps : {1, 5, 40}) {
      Network network(make_arch("shiftresnet20_e3"), 0);
      start_displacements(network, "symmetric", 1.5, 0);
      Recipe recipe;
      recipe.sparsity = target;
      EXPECT_NEAR(learn(network, recipe, steps), target, 0.002) << steps << " steps";
    }
  }
}

// Interpolated shifts are never pruned: a channel between two pixels has no place to stay.
TEST_F(TrainTest, ActiveShiftsLearnAndAreNotPruned) {
  Network network(make_arch("shiftresnet20_e3", 10, "asl"), 0);
  start_displacements(network, "symmetric", 1.5, 0);
  const auto before = network->shifts()[3].layer->displacement.detach().clone();
  Recipe recipe;
  recipe.shift = "asl";
  EXPECT_LT(learn(network, recipe, 20), 0.3);
  EXPECT_FALSE(torch::equal(before, network->shifts()[3].layer->displacement));
}

TEST_F(TrainTest, FrozenDisplacementsStandStill) {
  Network network(make_arch("shiftresnet20_e1"), 0);
  start_displacements(network, "symmetric", 1.5, 0);
  const auto before = network->shifts()[3].layer->displacement.detach().clone();
  Recipe recipe;
  recipe.sparsity = -1;
  recipe.freeze_from = 0;
  learn(network, recipe, 5);
  EXPECT_TRUE(torch::equal(before, network->shifts()[3].layer->displacement));
  recipe.freeze_from = 1;
  learn(network, recipe, 5);
  EXPECT_FALSE(torch::equal(before, network->shifts()[3].layer->displacement));
}

TEST_F(TrainTest, ThePenaltyPullsToZeroAfterItsDelay) {
  for (const char* optimiser : {"adam", "sgd"}) {
    Recipe recipe;
    recipe.sparsity = -1;
    recipe.freeze_from = 1;
    recipe.shift_optimiser = optimiser;
    recipe.rate = std::string(optimiser) == "adam" ? 0.02 : 1;
    auto sparsity = [&](double penalty, double delay) {
      Network network(make_arch("shiftresnet20_e3"), 0);
      start_displacements(network, "symmetric", 1.5, 0);
      recipe.penalty = penalty;
      recipe.penalty_delay = delay;
      return learn(network, recipe, 20);
    };
    const double none = sparsity(0, 0), early = sparsity(2, 0), late = sparsity(2, 0.8);
    EXPECT_GT(early, none + 0.2) << optimiser;
    EXPECT_GT(early, late) << optimiser;
  }
}

TEST_F(TrainTest, TheLearnersStateContinuesBitForBit) {
  Recipe recipe;
  auto gradients = [](Network& network, int64_t step) {
    torch::manual_seed(static_cast<uint64_t>(step));
    network->zero_grad();
    torch::cross_entropy_loss(network->forward(torch::randn({4, 3, 8, 8})),
                              torch::randint(10, {4}, torch::kLong))
        .backward();
  };
  auto make = [] {
    Network network(make_arch("shiftresnet20_e1"), 0);
    start_displacements(network, "symmetric", 1.5, 0);
    return network;
  };
  Network whole = make(), parts = make();
  ShiftLearner one(whole, recipe, 20, g_alone), first(parts, recipe, 20, g_alone),
      second(parts, recipe, 20, g_alone);
  for (int64_t step = 0; step < 20; ++step) {
    if (step == 9) second.load_state(first.state());
    ShiftLearner& other = step < 9 ? first : second;
    one.before_step(step), gradients(whole, step), one.after_step(step, 0.1);
    other.before_step(step), gradients(parts, step), other.after_step(step, 0.1);
  }
  for (size_t k = 0; k < whole->shifts().size(); ++k) {
    EXPECT_TRUE(torch::equal(whole->shifts()[k].layer->displacement, parts->shifts()[k].layer->displacement));
  }
}

}  // namespace
}  // namespace fewshift
