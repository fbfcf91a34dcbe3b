// The page of `fewshift report`: one run, or several side by side.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/image.h"
#include "model/predictions.h"

namespace fewshift::html {

struct ReportedRun {
  std::string name;                           // its folder
  std::map<std::string, std::string> recipe;  // field -> value
  std::map<std::string, std::string> usual;   // the same by default
  std::vector<nlohmann::json> epochs;         // metrics.jsonl
  ModelInfo info;                             // of the epoch kept
  int64_t params = 0, madds = 0;
  double sparsity = -1;    // below 0: there are no shifts
  double temperature = 0;  // fitted on val; 0: none
  std::string split;       // that was predicted: "test" or "val"
  Predictions predictions;
  std::vector<std::string> names;  // of the predictions' pictures
  // A picture, by its place in the predictions; nothing where it cannot be opened any more.
  std::function<std::shared_ptr<const Image>(size_t)> picture;
};

// Everything on the page but pictures, for programs.
nlohmann::json report_json(const std::vector<ReportedRun>& runs);
// The curves: a line an epoch of each run.
std::string report_csv(const std::vector<ReportedRun>& runs);
std::string report_page(const std::vector<ReportedRun>& runs);

}  // namespace fewshift::html
