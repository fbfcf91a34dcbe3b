// What a step, and the end of an epoch, do to a network.
// SPDX-License-Identifier: Apache-2.0
#include "train/training_step.h"

#include <gtest/gtest.h>

#include "arch/registry.h"
#include "core/random.h"

namespace fewshift {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

class Noise : public Dataset {
 public:
  size_t size() const override { return 24; }
  int label(size_t index) const override { return static_cast<int>(index % 3); }
  std::string name(size_t index) const override { return std::to_string(index); }
  std::shared_ptr<const Image> image(size_t index) const override {
    Image image{16, 16, std::vector<uint8_t>(16 * 16 * 3)};
    Random random{index};
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
    return std::make_shared<const Image>(std::move(image));
  }
};

// Batch norm's statistics after an epoch are the mean of those that the last batches have under the weights
// as they are, in the network that is kept.
TEST(TrainingStep, StatisticsAreMadeAnewFromTheLastPictures) {
  for (const double ema : {0.0, 0.9}) {
    Recipe recipe;
    recipe.model = "shiftresnet20_e1", recipe.batch = 8, recipe.norm_pictures = 16, recipe.ema = ema;
    World world;
    LoaderOptions options;
    options.batch = 8, options.workers = 1, options.shuffle = options.even = true;
    options.preprocess = default_preprocess(16);
    Feed feed(std::make_shared<Noise>(), options, torch::kCPU);
    Learning learning(Network(make_arch(recipe.model, 3, "ssl"), 1), recipe, 3, world);
    TrainingStep step(recipe, world, learning, {});
    Fed fed;
    feed.start(0, 0);
    for (int64_t k = 0; feed.next(fed); ++k) step.run(fed.images, fed.labels, k, k, 0.1, {});
    const Network& kept = learning.kept();
    const bool training = kept->is_training();
    step.settle(feed, 0);
    EXPECT_EQ(kept->is_training(), training);

    const torch::NoGradGuard no_grad;
    const auto modules = kept->named_modules();
    auto* const conv = modules["stem.conv"]->as<nn::Conv2d>();
    auto* const norm = modules["stem.norm"]->as<nn::BatchNorm2d>();
    std::vector<Tensor> means, variances;
    feed.start(0, 1);
    while (feed.next(fed)) {
      const Tensor h = conv->forward(fed.images);
      means.push_back(h.mean({0, 2, 3})), variances.push_back(h.var(std::vector<int64_t>{0, 2, 3}));
    }
    ASSERT_EQ(means.size(), 2u);
    EXPECT_TRUE(torch::allclose(norm->running_mean, torch::stack(means).mean(0), 1e-4, 1e-4)) << ema;
    EXPECT_TRUE(torch::allclose(norm->running_var, torch::stack(variances).mean(0), 1e-4, 1e-4)) << ema;
    EXPECT_EQ(norm->options.momentum(), nn::BatchNorm2dOptions(1).momentum())
        << "later steps go on as before";
  }
}

}  // namespace
}  // namespace fewshift
