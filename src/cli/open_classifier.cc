// SPDX-License-Identifier: Apache-2.0
#include "cli/open_classifier.h"

#include "core/error.h"
#include "core/file.h"
#include "model/onnx.h"
#ifdef FEWSHIFT_TRAIN
#include "cli/torch_threads.h"
#include "train/checkpoint.h"
#include "train/held_out.h"
#include "train/run_files.h"
#else
#include "cli/threads.h"
#endif

namespace fewshift::cli {

bool is_onnx(const std::filesystem::path& path) {
  return extension_of(path) == ".onnx";
}

TrainedClassifier open_classifier(const std::filesystem::path& path, int asked) {
  if (is_onnx(path)) return onnx_classifier(path, threads(asked));
#ifdef FEWSHIFT_TRAIN
  set_threads(threads(asked));
  return classifier_of(load_model(path));
#else
  throw Error(ErrorCode::kUnsupported, path.string(),
              "this build has no LibTorch: `fewshift export` makes an .onnx of it, which is read here");
#endif
}

OwnVal own_val([[maybe_unused]] const std::filesystem::path& run, [[maybe_unused]] const std::string& data) {
#ifdef FEWSHIFT_TRAIN
  if (std::filesystem::exists(RunFiles(run).config()))
    return [run, data](const ModelInfo& info) {
      Recipe recipe = read_run_recipe(run, run.string());
      recipe.data = data;
      return held_out(run.string(), recipe, info);
    };
#endif
  return {};
}

std::string data_of_run(const std::filesystem::path& run) {
#ifdef FEWSHIFT_TRAIN
  return read_run_recipe(run, run.string()).data;
#else
  throw Error(ErrorCode::kUnsupported, run.string(), "a build without LibTorch reads no runs: give --data");
#endif
}

}  // namespace fewshift::cli
