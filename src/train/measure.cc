// SPDX-License-Identifier: Apache-2.0
#include "train/measure.h"

#include <algorithm>

#include "core/error.h"
#include "data/open.h"

namespace fewshift {
namespace {

std::string difference(const std::vector<std::string>& data, const std::vector<std::string>& model) {
  if (data.size() != model.size()) {
    return "has " + std::to_string(data.size()) + " classes, the model " + std::to_string(model.size());
  }
  const auto [there, here] = std::mismatch(data.begin(), data.end(), model.begin());
  return "its class " + std::to_string(there - data.begin() + 1) + " is " + *there + ", the model's " + *here;
}

}  // namespace

Measured measure(TrainedModel& model, const std::filesystem::path& folder, EvaluateOptions options) {
  DataOptions opening;
  opening.cache_bytes = 0;
  opening.val_share = 0;
  opening.min_side = decode_min_side(model.info.preprocess);
  const Data data = open_data(folder, opening);
  const auto pictures = data.test ? data.test : data.val;
  if (!pictures)
    throw Error(ErrorCode::kNotFound, folder.string(), "has neither test/ nor val/ to measure on");
  if (data.class_names != model.info.class_names) {
    throw Error(ErrorCode::kInvalidArgument, folder.string(),
                difference(data.class_names, model.info.class_names));
  }
  options.preprocess = model.info.preprocess;
  return {data.test ? "test" : "val", evaluate(model.network, pictures, options)};
}

}  // namespace fewshift
