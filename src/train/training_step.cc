// SPDX-License-Identifier: Apache-2.0
#include "train/training_step.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/fnv.h"
#include "core/random.h"
#include "nn/autocast.h"
#include "nn/dropout.h"
#include "train/average.h"
#include "train/checkpoint.h"
#include "train/mix.h"

namespace fewshift {

using torch::Tensor;
namespace nn = torch::nn;

Learning::Learning(Network network_, const Recipe& recipe, int64_t steps, World& world)
    : network(network_), learner(network, recipe, steps, world), optimiser(network, recipe) {
  if (recipe.ema == 0) return;
  average = Network(network->arch(), static_cast<uint64_t>(recipe.seed));
  average->to(network->parameters()[0].device());
  update_average(network, 0, 0, average);  // the same, to begin with
  average->eval();
}

std::string digest(const Network& network) {
  Fnv hash;
  for (const Tensor& parameter : network->parameters()) hash.add_words(to_raw(parameter).bytes);
  return std::to_string(hash.value());
}

TrainingStep::TrainingStep(const Recipe& recipe, World& world, Learning& learning, Tensor class_weights)
    : recipe_(recipe),
      world_(world),
      learning_(learning),
      class_weights_(std::move(class_weights)),
      device_(learning.network->parameters()[0].device()),
      autocasts_(recipe.precision == "bf16" && !(device_.is_cpu() && learning.network->fuses())),
      buckets_(world, learning.network) {
  if (class_weights_.defined()) class_weights_ = class_weights_.to(device_);
}

// What the processes tell one another before a step.
struct TrainingStep::Roll {
  int64_t before = 0, all = 0;  // pictures: of lower ranks, and together
  bool fit = false;             // there are enough, everywhere
  Counts counts;                // together
  Wishes wishes;
};

TrainingStep::Roll TrainingStep::call_roll(int64_t pictures, const Counts& counts, const Wishes& wishes) {
  const int size = world_.size();
  Tensor roll = torch::zeros({size + 4}, torch::kDouble);
  double* const r = roll.mutable_data_ptr<double>();
  r[world_.rank()] = static_cast<double>(pictures);
  r[size] = counts.labels, r[size + 1] = counts.others;
  r[size + 2] = wishes.stop, r[size + 3] = wishes.save;
  world_.add_up(roll);
  Roll result;
  result.counts = {r[size], r[size + 1]};
  result.wishes = {r[size + 2] > 0, r[size + 3] > 0};
  // Batch norm needs two pictures; a lone one is left where the others were broken.
  const int64_t least = world_.alone() || recipe_.sync_norm == "epoch" ? 2 : 1;
  result.fit = true;
  for (int k = 0; k < size; ++k) {
    const auto there = static_cast<int64_t>(r[k]);
    if (k < world_.rank()) result.before += there;
    result.all += there;
    result.fit = result.fit && there >= least;
  }
  result.fit = result.fit && result.all > 1;
  return result;
}

Tensor TrainingStep::forward(Network& network, const Tensor& images) {
  const Autocast autocast(autocasts_, device_.type());
  return network->forward(images).to(torch::kFloat);
}

StepResult TrainingStep::run(const Tensor& images, const Tensor& labels, int64_t number, int64_t shift_step,
                             double rate, const Wishes& wishes) {
  // What is drawn depends on the step alone: by mixing, and by dropout.
  torch::manual_seed(
      Random{static_cast<uint64_t>(recipe_.seed), 0xD20, static_cast<uint64_t>(number)}.next());
  Mixed mixed;
  Counts counts;
  if (labels.numel() > 0) {
    mixed = mix(images, labels, recipe_.mixup, recipe_.cutmix);
    counts = counts_of(mixed, class_weights_);
  }
  const Roll roll = call_roll(labels.numel(), counts, wishes);
  if (!roll.fit) return {roll.wishes, 0, 0, 0};
  set_dropout_place(roll.before, roll.all);

  Network& network = learning_.network;
  if (shift_step >= 0) learning_.learner.before_step(shift_step);
  const Tensor logits = forward(network, mixed.images);
  const Tensor loss = mixed_loss(logits, mixed, class_weights_, recipe_.label_smoothing, roll.counts);
  Tensor numbers = torch::stack(
      {loss.detach().to(torch::kDouble), (logits.argmax(1) == mixed.main_labels()).sum().to(torch::kDouble)});
  const auto wait = world_.start_adding_up(numbers);
  learning_.optimiser.zero_grad();
  buckets_.start();
  loss.backward();
  buckets_.finish();
  wait();
  const Tensor results = numbers.cpu();  // waits for a GPU
  StepResult result{roll.wishes, roll.all, results[0].item<double>(),
                    static_cast<int64_t>(results[1].item<double>())};
  if (!std::isfinite(result.loss)) return result;
  if (shift_step >= 0) learning_.learner.after_step(shift_step, rate);
  learning_.optimiser.step(rate);
  if (learning_.average) update_average(network, recipe_.ema, number, learning_.average);
  return result;
}

void TrainingStep::renew_statistics(Feed& feed, int64_t epoch) {
  const torch::NoGradGuard no_grad;
  Network& network = learning_.kept();
  std::vector<nn::BatchNorm2dImpl*> norms;
  for (const auto& module : network->modules()) {
    if (auto* norm = module->as<nn::BatchNorm2dImpl>()) norms.push_back(norm);
  }
  const int64_t steps = (recipe_.norm_pictures + recipe_.batch - 1) / recipe_.batch;
  feed.start(epoch, std::max<int64_t>(0, feed.batches() - steps));
  const bool training = network->is_training();
  network->train();
  Fed fed;
  for (int64_t before = 0; feed.next(fed);) {
    const Roll roll = call_roll(fed.labels.numel(), {}, {});
    if (!roll.fit) continue;
    set_dropout_place(roll.before, roll.all);
    ++before;
    for (nn::BatchNorm2dImpl* norm : norms) norm->options.momentum(1.0 / static_cast<double>(before));
    forward(network, fed.images);
  }
  network->train(training);
  for (nn::BatchNorm2dImpl* norm : norms) norm->options.momentum(nn::BatchNorm2dOptions(1).momentum());
}

void TrainingStep::settle(Feed& feed, int64_t epoch) {
  if (recipe_.norm_pictures > 0 && epoch >= recipe_.freeze_body) renew_statistics(feed, epoch);
  if (world_.alone() || recipe_.sync_norm != "epoch") return;
  const torch::NoGradGuard no_grad;
  for (Network* network : {&learning_.network, &learning_.average}) {
    if (network->is_empty()) continue;
    for (auto& item : (*network)->named_buffers()) {
      if (!item.key().ends_with(".running_mean") && !item.key().ends_with(".running_var")) continue;
      Tensor mean = item.value().contiguous();
      world_.add_up(mean);
      item.value().copy_(mean / world_.size());
    }
  }
}

}  // namespace fewshift
