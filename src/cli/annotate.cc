// fewshift annotate
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "cli/commands.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "graph/onnx/onnx.h"
#include "image/preprocess.h"
#include "model/onnx.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, out, class_names;
  int resize = 0;
  std::vector<float> mean, std;
};

std::vector<std::string> lines_of(const std::string& file) {
  std::istringstream text(read_file(file));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty())
      throw Error(ErrorCode::kCorrupt, file, "line " + std::to_string(lines.size() + 1) + " is empty");
    lines.push_back(line);
  }
  return lines;
}

int run(const Options& o) {
  const std::string bytes = read_file(o.model);
  const auto model = engine::Model::parse(AlignedBytes(bytes.begin(), bytes.end()), o.model);
  ModelInfo info = info_of(*model, o.model);
  if (!o.class_names.empty()) {
    const std::vector<std::string> names = lines_of(o.class_names);
    if (names.size() != info.class_names.size())
      throw Error(ErrorCode::kInvalidArgument, o.class_names,
                  "has " + std::to_string(names.size()) + " names for " +
                      std::to_string(info.class_names.size()) + " classes");
    info.class_names = names;
  }
  if (o.resize > 0) info.preprocess.resize = o.resize;
  if (!o.mean.empty()) std::copy(o.mean.begin(), o.mean.end(), info.preprocess.mean.begin());
  if (!o.std.empty()) std::copy(o.std.begin(), o.std.end(), info.preprocess.std.begin());
  const std::string recipe = to_json(info.preprocess);
  preprocess_from_json(recipe, "--resize, --mean, --std");
  write_file_atomic(o.out, graph::annotate_onnx(bytes, o.model,
                                                {{"class_names", json_text(nlohmann::json(info.class_names))},
                                                 {"model", info.model},
                                                 {"preprocess", recipe}}));
  std::printf("%s: %zu class names, %s\n", o.out.c_str(), info.class_names.size(), recipe.c_str());
  return kDone;
}

}  // namespace

Action annotate_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "MODEL.onnx, of whatever origin")->required();
  command.add_option("--out", o->out, "The file to write; it may be MODEL itself")->required();
  command.add_option("--class-names", o->class_names,
                     "A text file, a name a line in the order of the outputs");
  command.add_option("--resize", o->resize, "To what the short side is resized before the crop, px")
      ->check(CLI::Range(1, 4096));
  command.add_option("--mean", o->mean, "Of red, green, blue from 0 to 1: subtracted (0.485 0.456 0.406)")
      ->expected(3);
  command.add_option("--std", o->std, "Divided by (0.229 0.224 0.225)")->expected(3);
  command.footer(
      "Writes class names and preprocessing into a model that another program exported: then predict, eval, "
      "and programs\n"
      "with the library know them. Pictures are resized by the short side (bilinear, antialiased), the "
      "middle is cropped\n"
      "to the model's size.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
