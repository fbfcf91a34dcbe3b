// SPDX-License-Identifier: Apache-2.0
#include "train/run_progress.h"

#include <nlohmann/json.hpp>

#include "core/json_text.h"
namespace fewshift {

std::string to_json(const RunProgress& p) {
  const nlohmann::json j = {{"epoch", p.epoch},
                            {"batch", p.batch},
                            {"step", p.step},
                            {"loss_sum", p.loss_sum},
                            {"right", p.right},
                            {"seen", p.seen},
                            {"best_top1", p.best_top1},
                            {"best_sparsity", p.best_sparsity},
                            {"best_settled", p.best_settled},
                            {"since_best", p.since_best},
                            {"stopped", p.stopped},
                            {"broken", p.broken},
                            {"metrics", p.metrics}};
  return json_text(j);
}

RunProgress run_progress_from_json(const std::string& text) {
  const auto j = nlohmann::json::parse(text);
  return {j.at("epoch"),   j.at("batch"),     j.at("step"),          j.at("loss_sum"),     j.at("right"),
          j.at("seen"),    j.at("best_top1"), j.at("best_sparsity"), j.at("best_settled"), j.at("since_best"),
          j.at("stopped"), j.at("broken"),    j.at("metrics")};
}

}  // namespace fewshift
