// What a report says, as JSON and CSV. SPDX-License-Identifier: Apache-2.0
#include <set>
#include <sstream>

#include "core/csv_text.h"
#include "html/report.h"

namespace fewshift::html {

using nlohmann::json;

namespace {

json reliability_json(const Reliability& r) {
  json bins = json::array();
  for (const Reliability::Bin& bin : r.bins)
    bins.push_back({{"pictures", bin.pictures}, {"right", bin.right}, {"confidence", bin.confidence}});
  return {{"expected_error", r.expected_error}, {"bins", bins}};
}

json run_json(const ReportedRun& run) {
  const Predictions& p = run.predictions;
  const std::vector<int64_t> matrix = confusion(p);
  json rows = json::array(), classes = json::array(), wrong = json::array();
  const std::vector<ClassScore> scores = class_scores(matrix, p.classes);
  for (int64_t c = 0; c < p.classes; ++c) {
    rows.push_back(
        std::vector<int64_t>(matrix.begin() + c * p.classes, matrix.begin() + (c + 1) * p.classes));
    classes.push_back({{"name", run.info.class_names[c]},
                       {"pictures", scores[c].pictures},
                       {"predicted", scores[c].given},
                       {"precision", scores[c].precision},
                       {"recall", scores[c].recall},
                       {"f1", scores[c].f1}});
  }
  for (int64_t n = 0; n < p.size(); ++n) {
    const int64_t given = predicted(p, n);
    if (given == p.labels[n]) continue;
    wrong.push_back({{"picture", run.names[n]},
                     {"class", run.info.class_names[p.labels[n]]},
                     {"predicted", run.info.class_names[given]},
                     {"confidence", probabilities(p, n)[given]}});
  }
  json result = {{"run", run.name},
                 {"model", run.info.model},
                 {"shift", run.info.shift},
                 {"params", run.params},
                 {"madds", run.madds},
                 {"recipe", run.recipe},
                 {"notes", run.info.notes},
                 {"epochs", run.epochs},
                 {"split", run.split},
                 {"pictures", p.size()},
                 {"broken", p.broken.size()},
                 {"top1", top1(p)},
                 {"loss", mean_loss(p)},
                 {"confusion", rows},
                 {"classes", classes},
                 {"wrong", wrong},
                 {"reliability", reliability_json(reliability(p, 1))}};
  if (run.sparsity >= 0) result["shift_sparsity"] = run.sparsity;
  if (run.temperature > 0) {
    result["temperature"] = run.temperature;
    result["loss_calibrated"] = mean_loss(p, run.temperature);
    result["reliability_calibrated"] = reliability_json(reliability(p, run.temperature));
  }
  return result;
}

}  // namespace

json report_json(const std::vector<ReportedRun>& runs) {
  json all = json::array();
  for (const ReportedRun& run : runs) all.push_back(run_json(run));
  return {{"runs", all}};
}

std::string report_csv(const std::vector<ReportedRun>& runs) {
  std::set<std::string> columns;
  for (const ReportedRun& run : runs) {
    for (const json& epoch : run.epochs) {
      for (const auto& [key, value] : epoch.items()) {
        if (key != "epoch" && value.is_primitive()) columns.insert(key);
      }
    }
  }
  std::ostringstream out;
  out << "run,epoch";
  for (const std::string& column : columns) out << ',' << csv_field(column);
  out << '\n';
  for (const ReportedRun& run : runs) {
    for (const json& epoch : run.epochs) {
      out << csv_field(run.name) << ',' << epoch.value("epoch", json()).dump();
      for (const std::string& column : columns)
        out << ',' << (epoch.contains(column) ? epoch[column].dump() : "");
      out << '\n';
    }
  }
  return out.str();
}

}  // namespace fewshift::html
