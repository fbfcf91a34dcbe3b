// What a training looks like: a live bar on a terminal, plain lines elsewhere. All on standard error.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <string>

#include "train/observer.h"

namespace fewshift::cli {

class Progress : public TrainObserver {
 public:
  Progress();
  ~Progress() override;
  void on_message(const std::string& line) override;
  void on_step(const StepReport& report) override;
  void on_epoch(const EpochReport& report) override;

 private:
  void clear_bar();

  bool terminal_, colour_, bar_shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace fewshift::cli
