// Trains a network on labelled pictures, into a RUN folder that survives whatever happens to the process.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <filesystem>
#include <span>
#include <string>

#include "train/recipe.h"
#include "train/world.h"

namespace fewshift {

struct StepReport {
  int64_t epoch = 0, epochs = 0;                // epoch from 1
  int64_t step = 0, steps = 0;                  // in the epoch, from 1
  double images_per_s = 0, loss = 0, top1 = 0;  // loss and top-1 of the epoch so far, on training pictures
  double shift_sparsity = 0, seconds_left = 0;  // sparsity below 0: there are no shifts
  std::span<const size_t> pictures;             // that this process saw in it, by number in the data set
};

struct EpochReport {
  int64_t epoch = 0, epochs = 0;
  double train_loss = 0, train_top1 = 0;
  double val_loss = 0, val_top1 = -1;  // top-1 below 0: there is no val
  int64_t val_images = 0;
  double shift_sparsity = 0, learning_rate = 0, images_per_s = 0, seconds = 0;  // sparsity as above
  double waited = 0;                                                            // for pictures, s
  int64_t broken_images = 0;
  bool best = false, stopped = false;  // stopped: early
  bool settled = false;                // its shifts are pruned as far as they will be
};

// Hears of a training; called from the training thread.
struct TrainObserver {
  virtual ~TrainObserver() = default;
  virtual void on_message(const std::string& line) = 0;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_epoch(const EpochReport& report) = 0;
};

struct TrainResult {
  bool interrupted = false;  // saved, to be resumed
  int64_t epochs = 0;
  double best_val_top1 = -1;
  double shift_sparsity = 0;  // of the epoch kept as the best
};

// RUN: config.toml (the whole recipe), metrics.jsonl (a line an epoch), log.txt, last.safetensors and
// best.safetensors (the network), state.safetensors (all that a resumed run needs, complete in itself). Saved
// after every epoch, every two minutes and when `stop` becomes true. A resumed run ends with bit for bit the
// weights of an uninterrupted one (same machine and threads).
//
// With `resume`, the recipe is the one in RUN/config.toml; see read_run_recipe.
// Throws Error: an existing RUN without `resume`; whatever data, recipe and files throw; kNumeric where the
// loss is not a number, the last good checkpoint kept.
//
// Several processes that call it together train together (`world`): recipe.batch are the pictures of all of
// them in a step, and a run goes on with another number of them. The recipe and RUN are those of rank 0,
// which alone writes; the data must be there for each, and be the same. Messages are rank 0's.
// `device`: where the arithmetic is done; a run goes on on another.
TrainResult train(const Recipe& recipe, const std::filesystem::path& run, bool resume,
                  TrainObserver& observer, const std::atomic<bool>& stop, World& world,
                  torch::Device device = torch::kCPU);

}  // namespace fewshift
