// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "data/subset.h"
#include "train/checkpoint.h"

namespace fewshift {

namespace {

template <class T>
void append(World& world, std::vector<T>& values) {
  const auto* const bytes = reinterpret_cast<const char*>(values.data());
  std::vector<T> all;
  for (const std::string& text : world.gather({bytes, bytes + values.size() * sizeof(T)})) {
    const size_t before = all.size();
    all.resize(before + text.size() / sizeof(T));
    if (!text.empty())
      std::memcpy(all.data() + before, text.data(), all.size() * sizeof(T) - before * sizeof(T));
  }
  values = std::move(all);
}

// From the process's own to those of all.
void add_up(World& world, Evaluation& result, Predictions& some) {
  const auto images = static_cast<double>(result.images);
  torch::Tensor sums = torch::tensor(
      {images, images * result.top1, images * result.top5.value_or(0), images * result.loss}, torch::kDouble);
  world.add_up(sums);
  const double* const s = sums.const_data_ptr<double>();
  result.images = static_cast<int64_t>(s[0]);
  const double all = std::max(1.0, s[0]);
  result.top1 = s[1] / all, result.loss = s[3] / all;
  if (some.classes > 5) result.top5 = s[2] / all;
  append(world, some.pictures), append(world, some.labels), append(world, some.logits);
}

}  // namespace

torch::Tensor images_tensor(Batch& batch, int size) {
  return torch::from_blob(batch.images.data(), {batch.size, size, size, 3}, torch::kFloat)
      .permute({0, 3, 1, 2});
}

torch::Tensor labels_tensor(Batch& batch) {
  return torch::from_blob(batch.labels.data(), {batch.size}, torch::kLong);
}

Evaluation evaluate_network(Network& network, const Preprocess& preprocess,
                            std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options,
                            World& world, Predictions& some) {
  constexpr size_t kSome = 5000;
  const size_t pictures = dataset->size(), ranks = world.size(), rank = world.rank();
  const size_t step = std::max<size_t>(1, (pictures + kSome - 1) / kSome);
  const size_t first = pictures * rank / ranks, end = pictures * (rank + 1) / ranks;
  auto own = std::move(dataset);
  if (!world.alone()) {
    std::vector<size_t> indices(end - first);
    std::iota(indices.begin(), indices.end(), first);
    own = std::make_shared<Subset>(own, std::move(indices));
  }
  const bool training = network->is_training();
  network->eval();
  const int64_t classes = std::get<Classifier>(network->arch().units.back().unit).classes;
  some = {};
  some.classes = classes;
  Evaluation result;
  try {
    result = evaluate(logits_of(network, preprocess.size), classes, preprocess, own, options,
                      [&](const Batch& batch, const float* scores) {
                        for (int64_t n = 0; n < batch.size; ++n, scores += classes) {
                          const size_t picture = first + batch.indices[n];
                          if (picture % step != 0) continue;
                          some.pictures.push_back(picture);
                          some.labels.push_back(batch.labels[n]);
                          some.logits.insert(some.logits.end(), scores, scores + classes);
                        }
                      });
  } catch (const Error& error) {  // no picture of its share can be used
    if (world.alone()) throw;
    result.broken[error.where()] = error.what();
  }
  if (training) network->train();
  if (!world.alone()) add_up(world, result, some);
  if (result.images == 0) throw Error(ErrorCode::kCorrupt, "val", "none of its pictures can be used");
  return result;
}

}  // namespace fewshift
