// fewshift report
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "arch/count.h"
#include "cli/commands.h"
#include "cli/metrics.h"
#include "cli/torch_threads.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "html/report.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/held_out.h"
#include "train/run_files.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string html, data;
  int threads = 0;
};

// test/ if there is one, else the run's own val: the pictures that it was not trained on.
std::pair<std::string, std::shared_ptr<const Dataset>> pictures_of(const std::string& path, Recipe recipe,
                                                                   const ModelInfo& info) {
  auto check = [&](const Data& data) {
    if (data.class_names != info.class_names)
      throw Error(ErrorCode::kInvalidArgument, recipe.data, "its classes are not those of " + path);
  };
  const Data as_it_is = open_for(info, recipe.data);
  check(as_it_is);
  if (as_it_is.test) return {"test", as_it_is.test};
  if (as_it_is.val) return {"val", as_it_is.val};
  return {"val", held_out(path, recipe, info)};
}

// What the fields are by default, with the rates that the run's optimiser has by default.
std::map<std::string, std::string> usual_values(const Recipe& recipe) {
  Recipe usual;
  usual.optimiser = recipe.optimiser;
  usual = resolved(usual);
  usual.optimiser = Recipe().optimiser;
  return field_values(usual);
}

html::ReportedRun read_run(const Options& o, const std::string& path) {
  Recipe recipe = read_run_recipe(path, path);
  const TrainedModel model = load_model(path);
  const Count total = count(model.network->arch(), model.info.preprocess.size);
  html::ReportedRun run;
  run.name = path;
  run.recipe = field_values(recipe);
  run.usual = usual_values(recipe);
  run.epochs = read_epochs(RunFiles(path));
  run.info = model.info;
  run.params = total.params, run.madds = total.madds;
  if (!model.network->shifts().empty()) run.sparsity = shift_sparsity(model.network);
  run.temperature = temperature_of(model.info).value_or(0);

  if (!o.data.empty()) recipe.data = o.data;
  const auto [split, set] = pictures_of(path, recipe, model.info);
  run.split = split;
  run.predictions =
      predict_all(classifier_of(model).logits, static_cast<int64_t>(model.info.class_names.size()),
                  model.info.preprocess, set, {100, threads(0), false});
  for (size_t picture : run.predictions.pictures) run.names.push_back(set->name(picture));
  run.picture = [set, pictures = run.predictions.pictures](size_t n) -> std::shared_ptr<const Image> {
    try {
      return set->image(pictures[n]);
    } catch (const Error&) {
      return nullptr;
    }
  };
  return run;
}

int run(const Options& o) {
  const std::filesystem::path page = o.html;
  if (extension_of(page) != ".html") throw Error(ErrorCode::kInvalidArgument, "--html", "must end in .html");
  set_threads(threads(o.threads));
  std::vector<html::ReportedRun> runs;
  for (const std::string& path : o.runs) runs.push_back(read_run(o, path));
  const auto beside = [&](const char* extension) {
    std::filesystem::path path = page;
    return path.replace_extension(extension);
  };
  write_file_atomic(beside(".json"), json_text(html::report_json(runs)) + "\n");
  write_file_atomic(beside(".csv"), html::report_csv(runs));
  write_file_atomic(page, html::report_page(runs));
  std::printf("%s, and beside it %s and %s\n", page.c_str(), beside(".json").filename().c_str(),
              beside(".csv").filename().c_str());
  return kDone;
}

}  // namespace

Action report_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("RUN", o->runs, "RUN folders, side by side on one page")->required();
  command.add_option("--html", o->html, "The page to write; its .json and .csv are written beside it")
      ->required();
  command.add_option("--data", o->data, "Where the pictures are now (as the run has it)");
  command.add_option("--threads", o->threads, "Of the arithmetic (as many as cores are free)")
      ->check(CLI::Range(0, 1024));
  command.footer(
      "Curves, confusion matrix, scores by class, calibration, the most confident mistakes with their "
      "pictures, "
      "recipes.\n"
      "Measured on test/ if there is one, else on the run's val. The page needs nothing beside it.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
