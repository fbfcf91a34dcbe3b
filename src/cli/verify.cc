// fewshift verify
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/onnx_runtime.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/json_text.h"
#include "data/loader.h"
#include "graph/onnx/onnx.h"
#include "model/onnx.h"
#ifdef FEWSHIFT_TRAIN
#include "train/checkpoint.h"
#include "train/torch_graph.h"
#endif

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, data, run;
  int threads = 0;
  int64_t images = 0;
  double tolerance = 1e-4;
  bool json = false;
};

// Another's logits beside ours, so far.
struct Comparison {
  std::string with;
  int64_t differ = 0, other_class = 0;
  double worst = 0;
  std::string worst_image;
};

// Of the range of the other's logits.
void compare(const std::string& image, const float* ours, const float* other, int64_t classes,
             double tolerance, Comparison& result) {
  const auto [low, high] = std::minmax_element(other, other + classes);
  double most = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const double apart = std::abs(double(ours[c]) - other[c]);
    most = std::isnan(apart) ? INFINITY : std::max(most, apart);
  }
  const double share = most == 0 ? 0 : most / std::max<double>(*high - *low, 1e-30);
  result.differ += !(share <= tolerance);
  result.other_class += std::max_element(ours, ours + classes) - ours != high - other;
  if (result.worst_image.empty() || share > result.worst) result.worst = share, result.worst_image = image;
}

// Those that are here, each computing logits from a batch.
class Others {
 public:
  Others(const Options& o, const ModelInfo& info) : model_(o.model) {
    (void)info;
#ifdef FEWSHIFT_TRAIN
    graph_ = graph::read_onnx(o.model);
    results.push_back({"LibTorch", 0, 0, 0, ""});
    if (!o.run.empty()) {
      const TrainedModel trained = load_model(o.run);
      if (trained.info.class_names.size() != info.class_names.size() ||
          trained.info.preprocess.size != info.preprocess.size)
        throw Error(ErrorCode::kInvalidArgument, o.run, "has other classes or another size than " + o.model);
      trained_ = classifier_of(trained);
      results.push_back({"the run", 0, 0, 0, ""});
    }
#else
    if (!o.run.empty()) throw Error(ErrorCode::kUnsupported, "--run", "needs a build with LibTorch");
#endif
    results.push_back({"ONNX Runtime", 0, 0, 0, ""});
  }

  // Logits of other number k; none where it is not installed.
  std::optional<std::vector<float>> logits(size_t k, const Batch& batch, const Npy& x, int64_t classes) {
    (void)k, (void)batch, (void)classes;
#ifdef FEWSHIFT_TRAIN
    if (k == 0) {
      const torch::Tensor y = compute_with_torch(
          graph_, torch::from_blob(const_cast<float*>(x.values.data()), x.shape, torch::kFloat));
      return std::vector<float>(y.data_ptr<float>(), y.data_ptr<float>() + y.numel());
    }
    if (results[k].with == "the run") {
      std::vector<float> y(batch.size * classes);
      trained_->logits(batch.images.data(), batch.size, y.data());
      return y;
    }
#endif
    auto y = compute_with_onnx_runtime(model_, x);
    if (!y) return {};
    return std::move(y->values);
  }

  std::vector<Comparison> results;

 private:
  std::string model_;
#ifdef FEWSHIFT_TRAIN
  graph::Graph graph_;
  std::optional<TrainedClassifier> trained_;
#endif
};

// absent: those that were not found.
int report(const Options& o, const std::string& model, int64_t images, const std::vector<Comparison>& results,
           const std::vector<char>& absent) {
  bool differs = false;
  nlohmann::json rows = nlohmann::json::array();
  for (size_t k = 0; k < results.size(); ++k) {
    const Comparison& c = results[k];
    differs |= c.differ > 0;
    if (absent[k]) {
      if (!o.json) std::printf("%-13s not found, not compared\n", c.with.c_str());
      continue;
    }
    rows.push_back({{"with", c.with},
                    {"differ", c.differ},
                    {"other_class", c.other_class},
                    {"worst", c.worst},
                    {"worst_image", c.worst_image}});
    if (!o.json)
      std::printf("%-13s %ld of %ld pictures differ, %ld in their class; at most %.2g of the range (%s)\n",
                  c.with.c_str(), c.differ, images, c.other_class, c.worst, c.worst_image.c_str());
  }
  if (o.json)
    std::cout << json_text(nlohmann::json{
                     {"model", model}, {"images", images}, {"tolerance", o.tolerance}, {"compared", rows}})
              << '\n';
  return differs ? kDiffers : kDone;
}

int run(const Options& o) {
  TrainedClassifier ours = onnx_classifier(o.model, threads(o.threads));
  ours.info.preprocess.decode_in_full = true;  // others see the pictures so
  const Data data = open_for(ours.info, o.data);
  const auto dataset = data.test ? data.test : data.val ? data.val : data.train;
  const int64_t size = ours.info.preprocess.size,
                classes = static_cast<int64_t>(ours.info.class_names.size());
  Others others(o, ours.info);
  LoaderOptions loading;
  loading.preprocess = ours.info.preprocess;
  loading.batch = static_cast<int>(std::clamp<int64_t>((64 << 20) / (12 * size * size), 1, 1000));
  if (o.images > 0) loading.batch = static_cast<int>(std::min<int64_t>(loading.batch, o.images));
  Loader loader(dataset, loading);
  loader.start(0);
  Batch batch;
  int64_t images = 0;
  std::vector<char> absent(others.results.size(), false);
  while ((o.images == 0 || images < o.images) && loader.next(batch)) {
    if (o.images > 0) batch.size = std::min(batch.size, o.images - images);
    std::vector<float> logits(batch.size * classes);
    ours.logits(batch.images.data(), batch.size, logits.data());
    Npy x{{batch.size, 3, size, size}, std::vector<float>(batch.size * 3 * size * size)};
    to_planes(batch.images.data(), batch.size, size * size, x.values.data());
    for (size_t k = 0; k < others.results.size(); ++k) {
      if (absent[k]) continue;
      const auto theirs = others.logits(k, batch, x, classes);
      absent[k] = !theirs;
      if (theirs && theirs->size() != logits.size())
        throw Error(ErrorCode::kCorrupt, o.model,
                    others.results[k].with + " gives an output of another size");
      for (int64_t n = 0; theirs && n < batch.size; ++n)
        compare(dataset->name(batch.indices[n]), &logits[n * classes], &(*theirs)[n * classes], classes,
                o.tolerance, others.results[k]);
    }
    if (std::all_of(absent.begin(), absent.end(), [](char a) { return a; }))
      throw Error(ErrorCode::kUnsupported, o.model,
                  "is compared with nothing: neither LibTorch nor ONNX Runtime is here (see verify --help)");
    images += batch.size;
  }
  for (const auto& [name, reason] : loader.broken())
    std::fprintf(stderr, "skipped a broken picture: %s: %s\n", name.c_str(), reason.c_str());
  return report(o, ours.info.model, images, others.results, absent);
}

}  // namespace

Action verify_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "MODEL.onnx")->required();
  command.add_option("--data", o->data, "Folder of pictures: its test/, else val/, else train/")->required();
  command.add_option("--run", o->run, "The RUN or checkpoint it was exported from: compared as well");
  command.add_option("--images", o->images, "At most so many (all)")->check(CLI::Range(0, 1 << 30));
  command
      .add_option("--tolerance", o->tolerance,
                  "Of a logit, as a share of the range of a picture's logits (1e-4)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--threads", o->threads, "Of the engine (as many as cores are free)")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--json", o->json, "One JSON object on standard output");
  command.footer(
      "Compares the engine's logits with those of LibTorch (in a build that has it) and of ONNX Runtime "
      "(where the\n"
      "Python named by FEWSHIFT_PYTHON, or else python3, has it), picture by picture. Exit code 3: some "
      "differ.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
