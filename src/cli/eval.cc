// fewshift eval
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/threads.h"
#include "core/error.h"
#include "data/open.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, data;
  int batch = 100, threads = 0;
  bool json = false;
};

int run(const Options& o) {
  set_threads(o.threads);
  TrainedModel model = load_model(o.model);
  DataOptions opening;
  opening.cache_bytes = 0;
  opening.val_share = 0;
  opening.min_side = decode_min_side(model.info.preprocess);
  const Data data = open_data(o.data, opening);
  const char* split = data.test ? "test" : "val";
  const auto pictures = data.test ? data.test : data.val;
  if (!pictures) throw Error(ErrorCode::kNotFound, o.data, "has neither test/ nor val/ to measure on");
  if (data.class_names != model.info.class_names) {
    throw Error(ErrorCode::kInvalidArgument, o.data,
                "its classes are not those of the model (" + std::to_string(data.class_names.size()) +
                    " and " + std::to_string(model.info.class_names.size()) + " of them)");
  }
  EvaluateOptions options;
  options.batch = o.batch;
  options.workers = threads(0);
  options.preprocess = model.info.preprocess;
  const Evaluation result = evaluate(model.network, pictures, options);
  for (const auto& [name, reason] : result.broken) {
    std::fprintf(stderr, "skipped a broken picture: %s: %s\n", name.c_str(), reason.c_str());
  }
  if (o.json) {
    std::cout << nlohmann::json{{"top1", result.top1},      {"top5", result.top5},
                                {"images", result.images},  {"loss", result.loss},
                                {"split", split},           {"broken_images", result.broken.size()},
                                {"model", model.info.model}}
                     .dump()
              << '\n';
  } else {
    std::printf("%s on %ld pictures of %s/: top-1 %.2f%%  top-5 %.2f%%  loss %.4f\n",
                model.info.model.c_str(), result.images, split, 100 * result.top1, 100 * result.top5,
                result.loss);
  }
  return kDone;
}

}  // namespace

Action eval_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "RUN folder (its best epoch) or a checkpoint")->required();
  command.add_option("--data", o->data, "Folder with test/, or else val/")->required();
  command.add_option("--batch", o->batch, "Pictures at a time (100)")->check(CLI::Range(1, 65536));
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)")->check(CLI::Range(0, 1024));
  command.add_flag("--json", o->json,
                   "One JSON object on standard output: top1, top5 (0 to 1), images, loss");
  command.footer("Measures on test/ if there is one, else on val/, and says which.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
