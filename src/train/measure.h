// A trained model on a folder of pictures that it has not seen.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>

#include "train/checkpoint.h"
#include "train/evaluate.h"

namespace fewshift {

struct Measured {
  std::string split;  // "test", or "val" where there is no test
  Evaluation evaluation;
};

// options.preprocess is the model's. Throws Error naming `data`: neither test/ nor val/; classes that are not
// the model's, naming the first that differs.
Measured measure(TrainedModel& model, const std::filesystem::path& data, EvaluateOptions options);

}  // namespace fewshift
