// fewshift eval
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/open_classifier.h"
#include "cli/threads.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, data;
  int batch = 100, threads = 0;
  bool json = false, flip = false;
};

int run(const Options& o) {
  const TrainedClassifier model = open_classifier(o.model, o.threads);
  const auto [split, result] =
      measure(model, o.data, {o.batch, threads(0), o.flip}, own_val(o.model, o.data));
  for (const auto& [name, reason] : result.broken) {
    std::fprintf(stderr, "skipped a broken picture: %s: %s\n", name.c_str(), reason.c_str());
  }
  if (o.json) {
    std::cout << nlohmann::json{{"top1", result.top1},
                                {"top5", result.top5},
                                {"images", result.images},
                                {"loss", result.loss},
                                {"split", split},
                                {"flip", o.flip},
                                {"broken_images", result.broken.size()},
                                {"model", model.info.model}}
                     .dump()
              << '\n';
  } else {
    std::printf("%s on %ld pictures of %s/: top-1 %.2f%%  top-5 %.2f%%  loss %.4f\n",
                model.info.model.c_str(), result.images, split.c_str(), 100 * result.top1, 100 * result.top5,
                result.loss);
  }
  return kDone;
}

}  // namespace

Action eval_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "RUN folder (its best epoch), a checkpoint, or MODEL.onnx")
      ->required();
  command.add_option("--data", o->data, "Folder with test/, or else val/")->required();
  command.add_option("--batch", o->batch, "Pictures at a time (100)")->check(CLI::Range(1, 65536));
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)")->check(CLI::Range(0, 1024));
  command.add_flag("--flip", o->flip,
                   "Average over each picture and its mirror image: slower, a little better");
  command.add_flag("--json", o->json,
                   "One JSON object on standard output: top1, top5 (0 to 1), images, loss");
  command.footer(
      "Measures on test/ if there is one, else on val/, or else on the pictures that the RUN held out as "
      "val; "
      "and says which.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
