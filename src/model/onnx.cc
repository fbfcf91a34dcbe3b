// SPDX-License-Identifier: Apache-2.0
#include "model/onnx.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace fewshift {

bool is_classifier(const engine::Model& model) {
  const auto &in = model.input_dims(), &out = model.output_dims();
  return in.size() == 4 && in[1] == 3 && in[2] == in[3] && out.size() == 2 && out[1] >= 2;
}

void to_logits(const engine::Model& model, float* output, int64_t count) {
  if (!model.gives_probabilities()) return;
  for (int64_t k = 0; k < count; ++k)
    output[k] = std::log(std::max(output[k], std::numeric_limits<float>::min()));
}

ModelInfo info_of(const engine::Model& model, const std::string& where) {
  const auto& dims = model.input_dims();
  if (!is_classifier(model))
    throw Error(ErrorCode::kUnsupported, where,
                "takes " + graph::text(dims) + " and gives " + graph::text(model.output_dims()) +
                    ": no classifier of square RGB pictures; `fewshift run` runs it all the same");
  std::map<std::string, std::string> metadata = model.metadata();
  metadata.emplace("model", model.name());
  Preprocess usual = default_preprocess(static_cast<int>(dims[2]));
  usual.decode_in_full = true;
  metadata.emplace("preprocess", to_json(usual));
  std::string numbers;
  for (int64_t c = 0; c < model.output_dims()[1]; ++c)
    numbers += (c ? ",\"" : "[\"") + std::to_string(c) + '"';
  metadata.emplace("class_names", numbers + "]");
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
  classifier.logits = [model, session, pixels, classes, planes = std::vector<float>(3 * pixels)](
                          const float* pictures, int64_t count, float* logits) mutable {
    for (int64_t n = 0; n < count; ++n) {
      to_planes(pictures + n * pixels * 3, 1, pixels, planes.data());
      session->run(planes.data(), logits + n * classes);
      to_logits(*model, logits + n * classes, classes);
    }
  };
  return classifier;
}

}  // namespace fewshift
