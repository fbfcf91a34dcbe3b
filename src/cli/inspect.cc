// fewshift inspect
// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect.h"

#include "cli/commands.h"
#include "cli/open_classifier.h"
#include "core/error.h"

namespace fewshift::cli {
namespace {

int run(const std::string& path, bool as_json) {
  if (is_onnx(path)) return inspect_onnx(path, as_json);
#ifdef FEWSHIFT_TRAIN
  return inspect_run(path, as_json);
#else
  throw Error(ErrorCode::kUnsupported, path, "this build has no LibTorch and inspects .onnx files alone");
#endif
}

}  // namespace

Action inspect_command(CLI::App& command) {
  auto path = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command.add_option("MODEL", *path, "RUN folder (its best epoch), a checkpoint, or MODEL.onnx")->required();
  command.add_flag("--json", *as_json, "One JSON object on standard output, with every displacement");
  command.footer(
      "Sparsity is the share of a layer's channels that do not move: whose displacement rounds to (0,0). A "
      "shift of\n"
      "(dy,dx) means that the channel is read dy rows below and dx columns to the right.");
  return [path, as_json] { return run(*path, *as_json); };
}

}  // namespace fewshift::cli
