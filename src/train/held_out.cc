// SPDX-License-Identifier: Apache-2.0
#include "train/held_out.h"

#include <filesystem>

#include "core/error.h"
#include "core/safetensors.h"
#include "train/run_files.h"
#include "train/training_data.h"

namespace fewshift {

std::shared_ptr<const Dataset> held_out(const std::string& run, Recipe recipe, const ModelInfo& info) {
  recipe.cache_mb = 0;
  const Data data = open_training_data(recipe, info.preprocess);
  if (!data.val) throw Error(ErrorCode::kNotFound, recipe.data, "has neither test/ nor val/ to measure on");
  const RunFiles files(run);
  if (!std::filesystem::exists(files.state()) ||
      read_safetensors(files.state()).metadata["data"] != data_fingerprint(data))
    throw Error(ErrorCode::kInvalidArgument, recipe.data,
                "is not as it was when " + run + " held a part of train/ out as val; a test/ is needed");
  return data.val;
}

}  // namespace fewshift
