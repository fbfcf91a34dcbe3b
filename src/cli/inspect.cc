// fewshift inspect
// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/open_classifier.h"
#include "core/error.h"
#include "core/file.h"
#include "image/centre_crop.h"
#include "image/decode.h"

namespace fewshift::cli {
namespace {

int run(const InspectOptions& o) {
  if (o.html.empty() && !o.picture.empty())
    throw Error(ErrorCode::kInvalidArgument, "--picture", "goes with --html");
  if (is_onnx(o.path)) return inspect_onnx(o);
#ifdef FEWSHIFT_TRAIN
  return inspect_run(o);
#else
  throw Error(ErrorCode::kUnsupported, o.path, "this build has no LibTorch and inspects .onnx files alone");
#endif
}

}  // namespace

std::optional<Image> atlas_picture(const InspectOptions& o, const Preprocess& preprocess) {
  if (o.picture.empty()) return {};
  return resize_centre_crop(load_image(o.picture, decode_min_side(preprocess)), preprocess);
}

void write_atlas(const InspectOptions& o, const html::Atlas& atlas) {
  if (atlas.layers.empty()) throw Error(ErrorCode::kUnsupported, o.path, "has no shifts to show");
  write_file_atomic(o.html, html::atlas_page(atlas));
  if (!o.as_json) std::printf("%s\n", o.html.c_str());
}

Action inspect_command(CLI::App& command) {
  auto o = std::make_shared<InspectOptions>();
  command.add_option("MODEL", o->path, "RUN folder (its best epoch), a checkpoint, or MODEL.onnx")
      ->required();
  command.add_flag("--json", o->as_json, "One JSON object on standard output, with every displacement");
  command.add_option(
      "--html", o->html,
      "Write the shift atlas to this file: where each layer's channels look, how far the stack "
      "can see");
  command.add_option("--picture", o->picture,
                     "With --html: show the reach on this picture (a run: on one of its own)");
  command.footer(
      "Sparsity is the share of a layer's channels that do not move: whose displacement rounds to (0,0). A "
      "shift of\n"
      "(dy,dx) means that the channel is read dy rows below and dx columns to the right.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
