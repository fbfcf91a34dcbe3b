// A training's epochs, for TensorBoard, and on to another observer. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <optional>
#include <utility>

#include "train/event_file.h"
#include "train/observer.h"

namespace fewshift::cli {

class TensorBoard : public TrainObserver {
 public:
  TensorBoard(std::filesystem::path folder, TrainObserver& next) : folder_(std::move(folder)), next_(next) {}
  void on_message(const std::string& line) override { next_.on_message(line); }
  void on_step(const StepReport& report) override { next_.on_step(report); }
  void on_epoch(const EpochReport& report) override;

 private:
  std::filesystem::path folder_;
  std::optional<EventFile> file_;  // from the first epoch on
  TrainObserver& next_;
};

}  // namespace fewshift::cli
