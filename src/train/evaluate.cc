// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.h"

#include <algorithm>

namespace fewshift {

torch::Tensor images_tensor(Batch& batch, int size) {
  return torch::from_blob(batch.images.data(), {batch.size, size, size, 3}, torch::kFloat)
      .permute({0, 3, 1, 2});
}

torch::Tensor labels_tensor(Batch& batch) {
  return torch::from_blob(batch.labels.data(), {batch.size}, torch::kLong);
}

Evaluation evaluate(Network& network, std::shared_ptr<const Dataset> dataset,
                    const EvaluateOptions& options) {
  torch::NoGradGuard no_grad;
  const bool training = network->is_training();
  network->eval();
  LoaderOptions loading;
  loading.batch = options.batch;
  loading.workers = options.workers;
  loading.preprocess = options.preprocess;
  Loader loader(dataset, loading);
  loader.start(0);
  Evaluation result;
  Batch batch;
  int64_t right1 = 0, right5 = 0;
  while (loader.next(batch)) {
    const torch::Tensor images = images_tensor(batch, options.preprocess.size);
    torch::Tensor logits = network->forward(images);
    if (options.flip) logits = (logits + network->forward(images.flip({3}))) / 2;
    const torch::Tensor labels = labels_tensor(batch);
    result.loss += torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum).item<double>();
    const auto top = std::get<1>(logits.topk(std::min<int64_t>(5, logits.size(1)), 1));
    const auto right = top == labels.unsqueeze(1);
    right1 += right.select(1, 0).sum().item<int64_t>();
    right5 += right.sum().item<int64_t>();
    result.images += batch.size;
  }
  if (result.images > 0) {
    const auto images = static_cast<double>(result.images);
    result.top1 = static_cast<double>(right1) / images;
    result.top5 = static_cast<double>(right5) / images;
    result.loss /= images;
  }
  result.broken = loader.broken();
  if (training) network->train();
  return result;
}

}  // namespace fewshift
