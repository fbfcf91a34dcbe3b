// fewshift predict
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/json_text.h"
#include "image/decode.h"
#include "train/checkpoint.h"

namespace fewshift::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model;
  std::vector<std::string> images;
  int top = 3, threads = 0;
  bool json = false;
};

// Files as they are named; folders as the pictures in them, at any depth, in order.
std::vector<std::string> expand(const std::vector<std::string>& named) {
  std::vector<std::string> files;
  for (const std::string& name : named) {
    if (!fs::is_directory(name)) {
      files.push_back(name);
      continue;
    }
    const size_t before = files.size();
    for (const auto& entry : fs::recursive_directory_iterator(name)) {
      if (entry.is_regular_file() && has_image_extension(entry.path()))
        files.push_back(entry.path().string());
    }
    if (files.size() == before) throw Error(ErrorCode::kNotFound, name, "there is no picture in this folder");
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
  }
  return files;
}

struct Scored {
  std::string name;
  double score;
};

std::vector<Scored> classify(TrainedModel& model, const Image& image, int top) {
  torch::NoGradGuard no_grad;
  const int size = model.info.preprocess.size;
  torch::Tensor input = torch::empty({1, size, size, 3});
  preprocess(image, model.info.preprocess, input.mutable_data_ptr<float>());
  const torch::Tensor scores =
      torch::softmax(model.network->forward(input.permute({0, 3, 1, 2})).to(torch::kDouble), 1)[0];
  const auto [values, classes] = scores.topk(std::min<int64_t>(top, scores.size(0)));
  std::vector<Scored> result;
  for (int64_t k = 0; k < values.size(0); ++k) {
    result.push_back({model.info.class_names[classes[k].item<int64_t>()], values[k].item<double>()});
  }
  return result;
}

int run(const Options& o) {
  set_threads(o.threads);
  TrainedModel model = load_model(o.model);
  nlohmann::json predictions = nlohmann::json::array();
  int failed = 0;
  for (const std::string& file : expand(o.images)) {
    try {
      const auto classes = classify(model, load_image(file, decode_min_side(model.info.preprocess)), o.top);
      nlohmann::json list = nlohmann::json::array();
      if (!o.json) std::printf("%s", file.c_str());
      for (const Scored& scored : classes) {
        list.push_back({{"name", scored.name}, {"score", scored.score}});
        if (!o.json) std::printf("  %s %.1f%%", scored.name.c_str(), 100 * scored.score);
      }
      if (!o.json) std::printf("\n");
      predictions.push_back({{"image", file}, {"classes", list}});
    } catch (const Error& error) {
      std::fprintf(stderr, "fewshift: %s\n", error.what());
      ++failed;
    }
  }
  if (o.json) {
    std::cout << json_text(nlohmann::json{{"predictions", predictions}}) << '\n';
  }
  return failed ? kFailed : kDone;
}

}  // namespace

Action predict_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "RUN folder (its best epoch) or a checkpoint")->required();
  command.add_option("IMAGE", o->images, "Pictures (JPEG, PNG), or folders of them")->required();
  command.add_option("--top", o->top, "How many classes to name (3)")->check(CLI::Range(1, 100000));
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)")->check(CLI::Range(0, 1024));
  command.add_flag("--json", o->json, "One JSON object on standard output");
  command.footer(
      "Scores are probabilities (softmax). A picture that cannot be read is named on standard error; the "
      "others are\n"
      "classified all the same, and the exit code is 1.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
