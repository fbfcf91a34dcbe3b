// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.h"

#include "train/checkpoint.h"

namespace fewshift {

torch::Tensor images_tensor(Batch& batch, int size) {
  return torch::from_blob(batch.images.data(), {batch.size, size, size, 3}, torch::kFloat)
      .permute({0, 3, 1, 2});
}

torch::Tensor labels_tensor(Batch& batch) {
  return torch::from_blob(batch.labels.data(), {batch.size}, torch::kLong);
}

Evaluation evaluate(Network& network, const Preprocess& preprocess, std::shared_ptr<const Dataset> dataset,
                    const EvaluateOptions& options) {
  const bool training = network->is_training();
  network->eval();
  const int64_t classes = std::get<Classifier>(network->arch().units.back().unit).classes;
  const Evaluation result =
      evaluate(logits_of(network, preprocess.size), classes, preprocess, dataset, options);
  if (training) network->train();
  return result;
}

}  // namespace fewshift
