// SPDX-License-Identifier: Apache-2.0
#include "cli/tensorboard.h"

namespace fewshift::cli {

void TensorBoard::on_epoch(const EpochReport& report) {
  std::vector<std::pair<std::string, double>> values = {{"train/loss", report.train_loss},
                                                        {"train/top1", report.train_top1},
                                                        {"train/learning_rate", report.learning_rate},
                                                        {"train/images_per_s", report.images_per_s}};
  if (report.val_top1 >= 0) {
    values.emplace_back("val/loss", report.val_loss);
    values.emplace_back("val/top1", report.val_top1);
  }
  if (report.shift_sparsity >= 0) values.emplace_back("shift/sparsity", report.shift_sparsity);
  if (!file_) file_.emplace(folder_);
  file_->scalars(report.epoch, values);
  next_.on_epoch(report);
}

}  // namespace fewshift::cli
