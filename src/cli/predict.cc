// fewshift predict
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/open_classifier.h"
#include "core/csv_text.h"
#include "core/error.h"
#include "core/json_text.h"
#include "data/image_folder.h"
#include "data/passed_over.h"
#include "image/decode.h"
#include "model/predictions.h"

namespace fewshift::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model;
  std::vector<std::string> images;
  int top = 3, threads = 0;
  bool json = false, csv = false, calibrated = false;
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
    PassedOver others;
    for (const auto& entry : fs::recursive_directory_iterator(name)) {
      if (!entry.is_regular_file()) continue;
      if (has_image_extension(entry.path())) {
        files.push_back(entry.path().string());
      } else if (!is_hidden(entry.path())) {
        pass_over(entry.path(), others);
      }
    }
    if (!others.empty()) std::fprintf(stderr, "passed over in %s: %s\n", name.c_str(), text(others).c_str());
    if (files.size() == before) throw Error(ErrorCode::kNotFound, name, "there is no picture in this folder");
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
  }
  return files;
}

struct Scored {
  std::string name;
  double score;
};

// The likeliest first.
std::vector<Scored> classify(const TrainedClassifier& model, const Image& image, int top,
                             double temperature) {
  const int size = model.info.preprocess.size;
  std::vector<float> picture(size_t(size) * size * 3), logits(model.info.class_names.size());
  preprocess(image, model.info.preprocess, picture.data());
  model.logits(picture.data(), 1, logits.data());
  const auto shares = probabilities(logits.data(), static_cast<int64_t>(logits.size()), temperature);
  std::vector<Scored> scores;
  for (size_t c = 0; c < logits.size(); ++c) scores.push_back({model.info.class_names[c], shares[c]});
  std::stable_sort(scores.begin(), scores.end(),
                   [](const Scored& a, const Scored& b) { return a.score > b.score; });
  scores.resize(std::min<size_t>(top, scores.size()));
  return scores;
}

// A line a class: the picture, the class's rank, name and probability.
void print_csv(const std::string& file, const std::vector<Scored>& classes) {
  for (size_t k = 0; k < classes.size(); ++k)
    std::printf("%s,%zu,%s,%.6f\n", csv_field(file).c_str(), k + 1, csv_field(classes[k].name).c_str(),
                classes[k].score);
}

void print(const std::string& file, const std::vector<Scored>& classes) {
  std::printf("%s", file.c_str());
  for (const Scored& scored : classes) std::printf("  %s %.1f%%", scored.name.c_str(), 100 * scored.score);
  std::printf("\n");
}

nlohmann::json describe(const std::string& file, const std::vector<Scored>& classes) {
  nlohmann::json list = nlohmann::json::array();
  for (const Scored& scored : classes) list.push_back({{"name", scored.name}, {"score", scored.score}});
  return {{"image", file}, {"classes", list}};
}

// Whether the pictures are not worth more than one thread.
bool are_few(const std::vector<std::string>& named) {
  constexpr size_t kFew = 8;
  return named.size() <= kFew &&
         std::none_of(named.begin(), named.end(), [](const auto& name) { return fs::is_directory(name); });
}

int run(const Options& o) {
  const TrainedClassifier model =
      open_classifier(o.model, o.threads > 0 || !are_few(o.images) ? o.threads : 1);
  const std::optional<double> fitted = temperature_of(model.info);
  if (o.calibrated && !fitted)
    throw Error(ErrorCode::kUnsupported, "--calibrated",
                o.model + " has no temperature: it was trained without val, or before there was one");
  const double temperature = o.calibrated ? *fitted : 1;
  nlohmann::json predictions = nlohmann::json::array();
  int failed = 0;
  if (o.csv) std::printf("image,rank,name,score\n");
  for (const std::string& file : expand(o.images)) {
    try {
      const Image image = load_image(file, decode_min_side(model.info.preprocess));
      const auto classes = classify(model, image, o.top, temperature);
      if (o.json) {
        predictions.push_back(describe(file, classes));
      } else if (o.csv) {
        print_csv(file, classes);
      } else {
        print(file, classes);
      }
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
  command.add_option("MODEL", o->model, "RUN folder (its best epoch), a checkpoint, or MODEL.onnx")
      ->required();
  command.add_option("IMAGE", o->images, "Pictures (JPEG, PNG, WebP), or folders of them")->required();
  command.add_option("--top", o->top, "How many classes to name (3)")->check(CLI::Range(1, 100000));
  command
      .add_option("--threads", o->threads,
                  "Of the arithmetic (as many as cores are free; of eight pictures or fewer, 1)")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--calibrated", o->calibrated,
                   "Divide logits by the temperature that training fitted on val");
  CLI::Option* const json = command.add_flag("--json", o->json, "One JSON object on standard output");
  command.add_flag("--csv", o->csv, "A line a picture and class: image,rank,name,score")->excludes(json);
  command.footer(
      "Scores are probabilities (softmax). A picture that cannot be read is named on standard error; the "
      "others are\n"
      "classified all the same, and the exit code is 1.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
