// SPDX-License-Identifier: Apache-2.0
#include "train/mix.h"

#include <algorithm>
#include <cmath>

namespace fewshift {
namespace {

using torch::Tensor;

double draw() {
  return torch::rand({1}, torch::kDouble).item<double>();
}

double draw_beta(double alpha) {
  return at::_sample_dirichlet(torch::full({2}, alpha, torch::kDouble))[0].item<double>();
}

struct Range {
  int64_t begin, end;
};

// A stretch of about `length` of `size` px around a random middle, cut off at the borders.
Range draw_range(int64_t size, double length) {
  const double middle = draw() * static_cast<double>(size);
  auto whole = [&](double v) { return std::clamp<int64_t>(std::llround(v), 0, size); };
  return {whole(middle - length / 2), whole(middle + length / 2)};
}

}  // namespace

Mixed mix(const Tensor& images, const Tensor& labels, double mixup, double cutmix) {
  if (mixup <= 0 && cutmix <= 0) return {images, labels, {}, 1};
  const bool cut = cutmix > 0 && (mixup <= 0 || draw() < 0.5);
  double share = draw_beta(cut ? cutmix : mixup);
  const Tensor order = torch::randperm(images.size(0), torch::kLong).to(images.device());
  const Tensor others = images.index_select(0, order);
  if (!cut) return {images * share + others * (1 - share), labels, labels.index_select(0, order), share};
  const int64_t height = images.size(2), width = images.size(3);
  const double side = std::sqrt(1 - share);
  const Range rows = draw_range(height, side * static_cast<double>(height));
  const Range columns = draw_range(width, side * static_cast<double>(width));
  Tensor result = images.clone();
  const auto part = [&](const Tensor& t) {
    return t.slice(2, rows.begin, rows.end).slice(3, columns.begin, columns.end);
  };
  part(result).copy_(part(others));
  share = 1 - static_cast<double>((rows.end - rows.begin) * (columns.end - columns.begin)) /
                  static_cast<double>(height * width);
  return {result, labels, labels.index_select(0, order), share};
}

Counts counts_of(const Mixed& batch, const Tensor& weight) {
  auto count = [&](const Tensor& labels) {
    if (!labels.defined()) return 0.0;
    if (!weight.defined()) return static_cast<double>(labels.numel());
    return weight.index_select(0, labels).sum(torch::kDouble).item<double>();
  };
  return {count(batch.labels), count(batch.others)};
}

Tensor mixed_loss(const Tensor& logits, const Mixed& batch, const Tensor& weight, double label_smoothing,
                  const Counts& counts) {
  auto loss = [&](const Tensor& labels, double count) {
    return torch::cross_entropy_loss(logits, labels, weight, at::Reduction::Sum, -100, label_smoothing) /
           count;
  };
  if (!batch.others.defined()) return loss(batch.labels, counts.labels);
  return batch.share * loss(batch.labels, counts.labels) +
         (1 - batch.share) * loss(batch.others, counts.others);
}

}  // namespace fewshift
