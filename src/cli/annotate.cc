// fewshift annotate
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
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
  std::string model, out, class_names, interpolation, decode;
  int resize = 0;
  std::vector<float> mean, std;
};

// A name a line; or, as in a data set's class_names.txt, FOLDER<tab>NAME. Blank lines at the end do not
// count.
std::vector<std::string> names_in(const std::string& file) {
  std::string all = read_file(file);
  if (all.starts_with("\xef\xbb\xbf")) all.erase(0, 3);
  while (!all.empty() && (all.back() == '\n' || all.back() == '\r')) all.pop_back();
  try {
    nlohmann::json(all).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::kCorrupt, file, "is not UTF-8");
  }
  std::istringstream text(all);
  std::vector<std::string> names;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    line.erase(0, line.find('\t') == std::string::npos ? 0 : line.find('\t') + 1);
    if (line.empty())
      throw Error(ErrorCode::kCorrupt, file, "line " + std::to_string(names.size() + 1) + " is empty");
    names.push_back(line);
  }
  return names;
}

int run(const Options& o) {
  for (float value : o.mean) {
    if (!(std::abs(value) <= 1))
      throw Error(ErrorCode::kInvalidArgument, "--mean", "is of red, green, blue from 0 to 1, not to 255");
  }
  const std::string bytes = read_file(o.model);
  std::map<std::string, std::string> entries;
  if (!o.class_names.empty()) entries["class_names"] = json_text(nlohmann::json(names_in(o.class_names)));
  std::string written = graph::annotate_onnx(bytes, o.model, entries);
  const auto model = engine::Model::parse(AlignedBytes(written.begin(), written.end()), o.model);
  ModelInfo info = info_of(*model, o.model);
  if (o.resize > 0) info.preprocess.resize = o.resize;
  if (!o.mean.empty()) std::copy(o.mean.begin(), o.mean.end(), info.preprocess.mean.begin());
  if (!o.std.empty()) std::copy(o.std.begin(), o.std.end(), info.preprocess.std.begin());
  if (!o.interpolation.empty())
    info.preprocess.interpolation =
        o.interpolation == "bicubic" ? Interpolation::kBicubic : Interpolation::kBilinear;
  if (!o.decode.empty()) info.preprocess.decode_in_full = o.decode == "full";
  const std::string recipe = to_json(info.preprocess);
  preprocess_from_json(recipe, "--resize, --mean, --std");
  write_file_atomic(o.out,
                    graph::annotate_onnx(written, o.model, {{"preprocess", recipe}, {"model", info.model}}));
  std::printf("%s: %zu classes, %s%s\n", o.out.c_str(), info.class_names.size(),
              o.class_names.empty() ? "" : (info.class_names.front() + " and so on, ").c_str(),
              recipe.c_str());
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
  command
      .add_option("--interpolation", o->interpolation, "How it is resized: bilinear (as is usual) or bicubic")
      ->check(CLI::IsMember({"bilinear", "bicubic"}));
  command
      .add_option(
          "--decode", o->decode,
          "JPEGs: full, as other programs (unless the file says otherwise), or fast, at a smaller scale")
      ->check(CLI::IsMember({"full", "fast"}));
  command.add_option("--mean", o->mean, "Of red, green, blue from 0 to 1: subtracted (0.485 0.456 0.406)")
      ->expected(3);
  command.add_option("--std", o->std, "Divided by (0.229 0.224 0.225)")->expected(3);
  command.footer(
      "Writes class names and preprocessing into a model that another program exported: then predict, eval, "
      "and programs\n"
      "with the library know them. Pictures are resized by the short side (antialiased), the middle is "
      "cropped to the\n"
      "model's size.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
