// Where a run stands: saved with its state, and taken up again when it is resumed.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <set>
#include <string>

namespace fewshift {

struct RunProgress {
  int64_t epoch = 0;  // from 0
  int64_t batch = 0;  // in the epoch: the next one
  int64_t step = 0;   // in all
  double loss_sum = 0;
  int64_t right = 0, seen = 0;  // of the epoch
  double best_top1 = -1, best_sparsity = -1;
  bool best_settled = false;     // the best epoch is one after the last pruning
  int64_t since_best = 0;        // epochs
  bool stopped = false;          // early, for want of a better epoch
  std::set<std::string> broken;  // pictures, by name, that were skipped so far
  std::string metrics;           // lines of metrics.jsonl
};

// One JSON object, and back (throws nlohmann::json's exceptions on another).
std::string to_json(const RunProgress& progress);
RunProgress run_progress_from_json(const std::string& text);

}  // namespace fewshift
