// What a training says while it goes on.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

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

}  // namespace fewshift
