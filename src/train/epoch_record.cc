// SPDX-License-Identifier: Apache-2.0
#include "train/epoch_record.h"

#include "nn/displacements.h"

namespace fewshift {

nlohmann::json epoch_record(const EpochReport& report, const Network& network) {
  nlohmann::json line = {{"epoch", report.epoch},
                         {"train_loss", report.train_loss},
                         {"train_top1", report.train_top1},
                         {"learning_rate", report.learning_rate},
                         {"images_per_s", report.images_per_s},
                         {"seconds", report.seconds},
                         {"waited", report.waited},
                         {"broken_images", report.broken_images}};
  if (report.stopped) line["stopped"] = true;
  if (report.val_top1 >= 0) {
    line["val_loss"] = report.val_loss;
    line["val_top1"] = report.val_top1;
    line["val_images"] = report.val_images;
  }
  if (report.shift_sparsity < 0) return line;
  line["shift_sparsity"] = report.shift_sparsity;
  const std::vector<double> still = layer_sparsity(network);
  for (size_t k = 0; k < still.size(); ++k) {
    const NamedShift& shift = network->shifts()[k];
    const torch::Tensor way = shift.layer->displacement.detach() - shift.layer->start;
    line["layers"][shift.name] = {{"shift_sparsity", still[k]},
                                  {"travelled", way.norm(2, 1).mean().item<double>()}};
  }
  return line;
}

}  // namespace fewshift
