// The epochs of a run. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/run_files.h"

namespace fewshift::cli {

// The lines of metrics.jsonl; those that are not whole (a kill in the middle of one) are passed over.
inline std::vector<nlohmann::json> read_epochs(const RunFiles& files) {
  std::vector<nlohmann::json> epochs;
  std::ifstream metrics(files.metrics());
  for (std::string line; std::getline(metrics, line);) {
    auto epoch = nlohmann::json::parse(line, nullptr, false);
    if (epoch.is_object()) epochs.push_back(std::move(epoch));
  }
  return epochs;
}

}  // namespace fewshift::cli
