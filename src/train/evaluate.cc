// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.h"

#include <algorithm>

#include "train/checkpoint.h"

namespace fewshift {

torch::Tensor images_tensor(Batch& batch, int size) {
  return torch::from_blob(batch.images.data(), {batch.size, size, size, 3}, torch::kFloat)
      .permute({0, 3, 1, 2});
}

torch::Tensor labels_tensor(Batch& batch) {
  return torch::from_blob(batch.labels.data(), {batch.size}, torch::kLong);
}

Evaluation evaluate_network(Network& network, const Preprocess& preprocess,
                            std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options,
                            Predictions& some) {
  constexpr size_t kSome = 5000;
  const size_t step = std::max<size_t>(1, (dataset->size() + kSome - 1) / kSome);
  const bool training = network->is_training();
  network->eval();
  const int64_t classes = std::get<Classifier>(network->arch().units.back().unit).classes;
  some = {};
  some.classes = classes;
  const Evaluation result =
      evaluate(logits_of(network, preprocess.size), classes, preprocess, std::move(dataset), options,
               [&](const Batch& batch, const float* scores) {
                 for (int64_t n = 0; n < batch.size; ++n, scores += classes) {
                   if (batch.indices[n] % step != 0) continue;
                   some.pictures.push_back(batch.indices[n]);
                   some.labels.push_back(batch.labels[n]);
                   some.logits.insert(some.logits.end(), scores, scores + classes);
                 }
               });
  if (training) network->train();
  return result;
}

}  // namespace fewshift
