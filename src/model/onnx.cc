// SPDX-License-Identifier: Apache-2.0
#include "model/onnx.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace fewshift {

ModelInfo info_of(const engine::Model& model, const std::string& where) {
  const auto& dims = model.input_dims();
  if (dims[1] != 3 || dims[2] != dims[3] || model.output_dims().size() != 2)
    throw Error(ErrorCode::kUnsupported, where,
                "takes " + graph::text(dims) + " and gives " + graph::text(model.output_dims()) +
                    ": no classifier of square RGB pictures; `fewshift run` runs it all the same");
  std::map<std::string, std::string> metadata = model.metadata();
  metadata.emplace("model", model.name());
  metadata.emplace("preprocess", to_json(default_preprocess(static_cast<int>(dims[2]))));
  nlohmann::json numbers = nlohmann::json::array();
  for (int64_t c = 0; c < model.output_dims()[1]; ++c) numbers.push_back(std::to_string(c));
  metadata.emplace("class_names", numbers.dump());
  const ModelInfo info = info_from_metadata(metadata, where);
  if (info.preprocess.size != dims[2])
    throw Error(ErrorCode::kCorrupt, where,
                "its preprocessing is for " + std::to_string(info.preprocess.size) + " px, its input " +
                    std::to_string(dims[2]));
  if (static_cast<int64_t>(info.class_names.size()) != model.output_dims()[1])
    throw Error(ErrorCode::kCorrupt, where,
                "has " + std::to_string(info.class_names.size()) + " class names for " +
                    std::to_string(model.output_dims()[1]) + " outputs");
  return info;
}

void to_planes(const float* pictures, int64_t count, int64_t pixels, float* planes) {
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t p = 0; p < pixels; ++p) *planes++ = pictures[(n * pixels + p) * 3 + c];
    }
  }
}

TrainedClassifier onnx_classifier(const std::filesystem::path& file, int threads) {
  const auto model = engine::Model::load(file);
  TrainedClassifier classifier;
  classifier.info = info_of(*model, file.string());
  const int64_t pixels = model->input_dims()[2] * model->input_dims()[3], classes = model->output_dims()[1];
  auto session = std::make_shared<engine::Session>(model, 1, threads);
  classifier.logits = [session, pixels, classes, planes = std::vector<float>(3 * pixels)](
                          const float* pictures, int64_t count, float* logits) mutable {
    for (int64_t n = 0; n < count; ++n) {
      to_planes(pictures + n * pixels * 3, 1, pixels, planes.data());
      session->run(planes.data(), logits + n * classes);
    }
  };
  return classifier;
}

}  // namespace fewshift
