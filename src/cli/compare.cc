// fewshift compare
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "arch/count.h"
#include "cli/commands.h"
#include "cli/metrics.h"
#include "cli/open_classifier.h"
#include "cli/torch_threads.h"
#include "core/error.h"
#include "core/json_text.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/interval.h"
#include "train/run_files.h"

namespace fewshift::cli {
namespace {

using nlohmann::json;
using Fields = std::map<std::string, std::string>;

struct Options {
  std::vector<std::string> runs;
  std::string data;
  int threads = 0;
  bool json = false, flip = false;
};

struct Run {
  std::string path, split;
  Fields settings;  // which runs that share a row have alike
  std::string model, shift;
  int64_t seed = 0, params = 0, madds = 0, images = 0;
  std::optional<double> top1, sparsity;
};

// What differs between the runs of one recipe: the seed, and what changes only speed or where files lie.
// Classes and pictures are compared in place of the folder's name; random shifts may each follow the run of
// their own seed.
Fields settings_of(const Recipe& recipe, const TrainedModel& model) {
  Fields fields = field_values(recipe);
  for (const char* name : {"run.seed", "run.data", "run.threads", "data.workers", "data.cache_mb"}) {
    fields.erase(name);
  }
  if (!recipe.shift_from.empty()) fields["shift.from"] = "another run";
  if (!recipe.init.empty()) {
    fields["train.init"] = std::filesystem::weakly_canonical(recipe.init).lexically_normal().string();
  }
  fields["run.size"] = std::to_string(model.info.preprocess.size);
  fields["classes"] = json_text(json(model.info.class_names));
  return fields;
}

// On `data`, or, without one, as the run found on val at the epoch it kept.
void take_accuracy(const Options& o, TrainedModel& model, Run& run) {
  if (!o.data.empty()) {
    const Measured measured =
        measure(classifier_of(model), o.data, {100, threads(0), o.flip}, own_val(run.path, o.data));
    run.top1 = measured.evaluation.top1;
    run.images = measured.evaluation.images;
    run.split = measured.split;
    return;
  }
  const auto top1 = model.info.notes.find("val_top1"), images = model.info.notes.find("val_images");
  if (top1 == model.info.notes.end() || images == model.info.notes.end()) return;
  run.top1 = std::stod(top1->second);
  run.images = std::stoll(images->second);
  run.split = "val";
}

// "all", or, of a run that is not finished, how many.
std::string epochs_ended(const Recipe& recipe, const RunFiles& files) {
  const std::vector<json> epochs = read_epochs(files);
  const bool stopped = !epochs.empty() && epochs.back().contains("stopped");
  const auto count = static_cast<int64_t>(epochs.size());
  return stopped || count >= recipe.epochs ? "all" : std::to_string(count);
}

Run read_run(const Options& o, const std::string& path) {
  const Recipe recipe = read_run_recipe(path, path);
  TrainedModel model = load_model(path);
  const Count total = count(model.network->arch(), model.info.preprocess.size);
  Run run{
      path, "", settings_of(recipe, model), model.info.model, "-", recipe.seed, total.params, total.madds, 0,
      {},   {}};
  if (takes_shift(model.network->arch())) run.shift = model.info.shift;
  if (!model.network->shifts().empty()) run.sparsity = shift_sparsity(model.network);
  take_accuracy(o, model, run);
  run.settings["epochs ended"] = epochs_ended(recipe, RunFiles(path));
  run.settings["measured on"] = run.top1 ? run.split + ", " + std::to_string(run.images) : "nothing";
  return run;
}

struct Row {
  std::vector<Run> runs;
  std::optional<double> top1, sparsity;  // means
  std::optional<Interval> interval;
  std::string differs;  // settings that are not the same in all rows
};

void summarise(Row& row) {
  std::vector<double> top1, sparsity;
  for (const Run& run : row.runs) {
    if (run.top1) top1.push_back(*run.top1);
    if (run.sparsity) sparsity.push_back(*run.sparsity);
  }
  if (!sparsity.empty()) row.sparsity = mean_of(sparsity);
  if (top1.empty()) return;
  row.top1 = mean_of(top1);
  row.interval = top1.size() > 1 ? mean_interval(top1) : wilson_interval(top1[0], row.runs[0].images);
  row.interval = {std::max(0.0, row.interval->low), std::min(1.0, row.interval->high)};
}

std::vector<Row> rows_of(const std::vector<Run>& runs) {
  std::vector<Row> rows;
  std::map<Fields, size_t> known;
  for (const Run& run : runs) {
    const auto [place, fresh] = known.emplace(run.settings, rows.size());
    if (fresh) rows.emplace_back();
    for (const Run& other : rows[place->second].runs) {
      if (other.seed == run.seed)
        throw Error(ErrorCode::kInvalidArgument, run.path, "has the recipe and the seed of " + other.path);
    }
    rows[place->second].runs.push_back(run);
  }
  for (const auto& [field, value] : rows[0].runs[0].settings) {
    if (field == "run.model" || field == "shift.operator") continue;  // columns of their own
    const bool same = std::all_of(rows.begin(), rows.end(),
                                  [&](const Row& row) { return row.runs[0].settings.at(field) == value; });
    for (Row& row : rows) {
      if (!same)
        row.differs += (row.differs.empty() ? "" : "  ") + field + "=" + row.runs[0].settings.at(field);
    }
  }
  for (Row& row : rows) summarise(row);
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.top1 > b.top1; });
  return rows;
}

json describe(const Row& row) {
  json runs = json::array();
  for (const Run& run : row.runs) {
    json one = {{"run", run.path}, {"seed", run.seed}};
    if (run.top1) one.update({{"top1", *run.top1}, {"images", run.images}, {"split", run.split}});
    if (run.sparsity) one["shift_sparsity"] = *run.sparsity;
    runs.push_back(one);
  }
  const Run& first = row.runs[0];
  json result = {{"model", first.model}, {"shift", first.shift},       {"params", first.params},
                 {"madds", first.madds}, {"settings", first.settings}, {"runs", runs}};
  if (row.top1)
    result.update({{"top1", *row.top1}, {"low", row.interval->low}, {"high", row.interval->high}});
  if (row.sparsity) result["shift_sparsity"] = *row.sparsity;
  return result;
}

std::string percent(const std::optional<double>& share) {
  if (!share) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * *share);
  return text;
}

void print(const std::vector<Row>& rows) {
  std::printf("%-28s %-10s %5s %8s  %-18s %9s %11s %10s\n", "model", "shift", "runs", "top-1", "95% interval",
              "sparsity", "parameters", "M-Adds");
  std::set<std::string> splits;
  for (const Row& row : rows) {
    const Run& first = row.runs[0];
    const std::string interval =
        row.interval ? percent(row.interval->low) + " to " + percent(row.interval->high) : "-";
    std::printf("%-28s %-10s %5zu %8s  %-18s %9s %10.3fM %9.1fM\n", first.model.c_str(), first.shift.c_str(),
                row.runs.size(), percent(row.top1).c_str(), interval.c_str(), percent(row.sparsity).c_str(),
                static_cast<double>(first.params) / 1e6, static_cast<double>(first.madds) / 1e6);
    if (!row.differs.empty()) std::printf("    %s\n", row.differs.c_str());
    for (const Run& run : row.runs) {
      if (run.top1) splits.insert(run.split + ", " + std::to_string(run.images) + " pictures");
    }
  }
  for (const std::string& split : splits) std::printf("top-1 on %s\n", split.c_str());
}

int run(const Options& o) {
  set_threads(threads(o.threads));
  std::vector<Run> runs;
  for (const std::string& path : o.runs) runs.push_back(read_run(o, path));
  const std::vector<Row> rows = rows_of(runs);
  if (o.json) {
    json list = json::array();
    for (const Row& row : rows) list.push_back(describe(row));
    std::cout << json_text(json{{"rows", list}}) << '\n';
  } else {
    print(rows);
  }
  return kDone;
}

}  // namespace

Action compare_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("RUN", o->runs, "RUN folders; runs that differ in their seed alone share a row")
      ->required();
  command.add_option("--data", o->data, "Measure now, on this folder's test/ (else val/)");
  command.add_option("--threads", o->threads, "Of the arithmetic (as many as cores are free)")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--flip", o->flip, "With --data: average over each picture and its mirror image");
  command.add_flag("--json", o->json, "One JSON object on standard output");
  command.footer(
      "Without --data: the top-1 on val that each run found at the epoch it kept. The interval is Wilson's "
      "for one\n"
      "run, Student's t over the runs for several. Below a row: the settings that differ between rows.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
