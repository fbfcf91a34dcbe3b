// fewshift eval
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/open_classifier.h"
#include "cli/threads.h"
#include "core/json_text.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, data;  // data: none where the run's own is meant
  int batch = 100, threads = 0;
  bool json = false, flip = false;
};

int run(const Options& o) {
  const TrainedClassifier model = open_classifier(o.model, o.threads);
  const std::string data = o.data.empty() ? data_of_run(o.model) : o.data;
  const auto [split, passed_over, result] =
      measure(model, data, {o.batch, threads(0), o.flip}, own_val(o.model, data));
  if (!passed_over.empty())
    std::fprintf(stderr, "passed over in %s: %s\n", data.c_str(), text(passed_over).c_str());
  for (const auto& [name, reason] : result.broken) {
    std::fprintf(stderr, "skipped a broken picture: %s: %s\n", name.c_str(), reason.c_str());
  }
  if (o.json) {
    std::cout << json_text(
                     nlohmann::json{{"top1", result.top1},
                                    {"top5", result.top5 ? nlohmann::json(*result.top5) : nlohmann::json()},
                                    {"images", result.images},
                                    {"loss", result.loss},
                                    {"data", data},
                                    {"split", split},
                                    {"flip", o.flip},
                                    {"broken_images", result.broken.size()},
                                    {"model", model.info.model}})
              << '\n';
  } else {
    std::printf("%s on %ld pictures of %s: top-1 %.2f%%", model.info.model.c_str(), result.images,
                (std::filesystem::path(data) / split).c_str(), 100 * result.top1);
    if (result.top5) std::printf("  top-5 %.2f%%", 100 * *result.top5);
    std::printf("  loss %.4f\n", result.loss);
  }
  return kDone;
}

}  // namespace

Action eval_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "RUN folder (its best epoch), a checkpoint, or MODEL.onnx")
      ->required();
  command.add_option("--data", o->data, "Folder with test/, or else val/ (of a RUN: its own)");
  command.add_option("--batch", o->batch, "Pictures at a time (100)")->check(CLI::Range(1, 65536));
  command.add_option("--threads", o->threads, "Of the arithmetic (as many as cores are free)")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--flip", o->flip,
                   "Average over each picture and its mirror image: slower, a little better");
  command.add_flag("--json", o->json,
                   "One JSON object on standard output: top1, top5 (0 to 1; null of at most five classes), "
                   "images, loss");
  command.footer(
      "Measures on test/ if there is one, else on val/, or else on what the RUN held out as val; says "
      "which.");
  command.final_callback([o] {
    if (o->data.empty() && !std::filesystem::is_directory(o->model))
      throw CLI::RequiredError("--data, for what is no RUN folder,");
  });
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
