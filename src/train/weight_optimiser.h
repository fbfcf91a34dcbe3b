// SGD or AdamW for everything but displacements, and what a resumed run needs of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <memory>

#include "core/safetensors.h"
#include "nn/network.h"
#include "train/recipe.h"

namespace fewshift {

// Weights decay; batch norm and biases do not; displacements are the shift learner's.
class WeightOptimiser {
 public:
  WeightOptimiser(const Network& network, const Recipe& recipe);
  void zero_grad() { optimiser_->zero_grad(); }
  // Clips the gradient's norm if the recipe asks, then steps.
  void step(double learning_rate);
  // Moments as tensors "<prefix><moment>.<parameter>", and back.
  void put(const std::string& prefix, SafeTensors& file) const;
  void take(const SafeTensors& file, const std::string& prefix);

 private:
  Network network_;
  double clip_;
  std::unique_ptr<torch::optim::Optimizer> optimiser_;
};

}  // namespace fewshift
