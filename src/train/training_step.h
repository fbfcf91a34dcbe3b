// One step: a batch forward and back, by all processes that train together, and what it changes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "data/loader.h"
#include "nn/network.h"
#include "train/feed.h"
#include "train/gradient_buckets.h"
#include "train/recipe.h"
#include "train/shift_learner.h"
#include "train/weight_optimiser.h"
#include "train/world.h"

namespace fewshift {

// All that a step changes.
struct Learning {
  // steps: of the whole run, those with a frozen body left out.
  Learning(Network network, const Recipe& recipe, int64_t steps, World& world);

  Network network;
  Network average{nullptr};  // with recipe.ema
  ShiftLearner learner;
  WeightOptimiser optimiser;
  // What is validated and kept.
  Network& kept() { return average ? average : network; }
};

// What the weights and displacements are, bit for bit.
std::string digest(const Network& network);

// What one process asks of all; they do it as soon as one does.
struct Wishes {
  bool stop = false, save = false;
};

struct StepResult {
  Wishes wishes;         // of all
  int64_t pictures = 0;  // of all processes; 0: the step was left out, for want of pictures
  double loss = 0;       // their mean
  int64_t right = 0;
};

class TrainingStep {
 public:
  // class_weights: [classes], or undefined. The references must outlive it.
  TrainingStep(const Recipe& recipe, World& world, Learning& learning, torch::Tensor class_weights);

  // Step `number` of the run, with this process's part of the batch, [N,3,S,S] and [N], on the network's
  // device; `shift_step` is the shift learner's, or
  // below 0. Where the loss is not a number, it is returned, and nothing has changed. Throws Error of the
  // world.
  StepResult run(const torch::Tensor& images, const torch::Tensor& labels, int64_t number, int64_t shift_step,
                 double rate, const Wishes& wishes);

  // At the end of an epoch: batch norm's statistics of the network that is kept, made anew from the epoch's
  // last recipe.norm_pictures pictures under its present weights, where they would trail behind them; and
  // where each process has statistics of its own, their mean.
  void settle(Feed& feed, int64_t epoch);

 private:
  struct Roll;
  Roll call_roll(int64_t pictures, const struct Counts& counts, const Wishes& wishes);
  torch::Tensor forward(Network& network, const torch::Tensor& images);
  void renew_statistics(Feed& feed, int64_t epoch);

  const Recipe& recipe_;
  World& world_;
  Learning& learning_;
  torch::Tensor class_weights_;
  torch::Device device_;
  bool autocasts_;
  GradientBuckets buckets_;
};

}  // namespace fewshift
