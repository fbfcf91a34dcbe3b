// SPDX-License-Identifier: Apache-2.0
#include "model/predictions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace fewshift {
namespace {

const float* logits_of(const Predictions& p, int64_t picture) {
  return &p.logits[picture * p.classes];
}

}  // namespace

Predictions predict_all(const Logits& logits, int64_t classes, const Preprocess& preprocess,
                        std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options) {
  Predictions all;
  all.classes = classes;
  all.broken =
      each_batch(logits, classes, preprocess, dataset, options, [&](const Batch& batch, const float* scores) {
        all.pictures.insert(all.pictures.end(), batch.indices.begin(), batch.indices.end());
        all.labels.insert(all.labels.end(), batch.labels.begin(), batch.labels.end());
        all.logits.insert(all.logits.end(), scores, scores + batch.size * classes);
      });
  for (size_t k = 0; k < all.logits.size(); ++k) {
    if (!std::isfinite(all.logits[k]))
      throw Error(ErrorCode::kNumeric, dataset->name(all.pictures[k / static_cast<size_t>(classes)]),
                  "the network gives no number for it: its weights are broken");
  }
  return all;
}

std::vector<double> probabilities(const float* logits, int64_t classes, double temperature) {
  if (std::any_of(logits, logits + classes, [](float logit) { return std::isnan(logit); }))
    throw Error(ErrorCode::kNumeric, "the model", "gives NaN: its weights or its preprocessing are no good");
  const double most = *std::max_element(logits, logits + classes);
  std::vector<double> shares(classes);
  double total = 0;
  for (int64_t c = 0; c < classes; ++c) total += shares[c] = std::exp((logits[c] - most) / temperature);
  for (double& share : shares) share /= total;
  return shares;
}
std::vector<double> probabilities(const Predictions& p, int64_t picture, double temperature) {
  return probabilities(logits_of(p, picture), p.classes, temperature);
}

int64_t predicted(const Predictions& p, int64_t picture) {
  const float* const logits = logits_of(p, picture);
  return std::max_element(logits, logits + p.classes) - logits;
}

double top1(const Predictions& p) {
  int64_t right = 0;
  for (int64_t n = 0; n < p.size(); ++n) right += predicted(p, n) == p.labels[n];
  return p.size() > 0 ? static_cast<double>(right) / static_cast<double>(p.size()) : 0;
}

double mean_loss(const Predictions& p, double temperature) {
  double loss = 0;
  for (int64_t n = 0; n < p.size(); ++n) {
    const float* const logits = logits_of(p, n);
    const double most = *std::max_element(logits, logits + p.classes);
    double total = 0;
    for (int64_t c = 0; c < p.classes; ++c) total += std::exp((logits[c] - most) / temperature);
    loss += std::log(total) - (logits[p.labels[n]] - most) / temperature;
  }
  return p.size() > 0 ? loss / static_cast<double>(p.size()) : 0;
}

double fit_temperature(const Predictions& p) {
  if (p.size() == 0) return 1;
  constexpr double kRatio = 1 / std::numbers::phi;
  double low = std::log(0.05), high = std::log(20.0);
  double left = high - kRatio * (high - low), right = low + kRatio * (high - low);
  double loss_left = mean_loss(p, std::exp(left)), loss_right = mean_loss(p, std::exp(right));
  while (high - low > 1e-4) {
    if (loss_left <= loss_right) {
      high = right, right = left, loss_right = loss_left;
      left = high - kRatio * (high - low), loss_left = mean_loss(p, std::exp(left));
    } else {
      low = left, left = right, loss_left = loss_right;
      right = low + kRatio * (high - low), loss_right = mean_loss(p, std::exp(right));
    }
  }
  return std::exp((low + high) / 2);
}

Reliability reliability(const Predictions& p, double temperature, int bins) {
  Reliability result;
  result.bins.resize(bins);
  for (int64_t n = 0; n < p.size(); ++n) {
    const int64_t given = predicted(p, n);
    const double confidence = probabilities(p, n, temperature)[given];
    Reliability::Bin& bin = result.bins[std::min(static_cast<int>(confidence * bins), bins - 1)];
    ++bin.pictures, bin.right += given == p.labels[n], bin.confidence += confidence;
  }
  for (Reliability::Bin& bin : result.bins) {
    if (bin.pictures == 0) continue;
    result.expected_error +=
        std::abs(static_cast<double>(bin.right) - bin.confidence) / static_cast<double>(p.size());
    bin.confidence /= static_cast<double>(bin.pictures);
  }
  return result;
}

std::vector<int64_t> confusion(const Predictions& p) {
  std::vector<int64_t> matrix(p.classes * p.classes);
  for (int64_t n = 0; n < p.size(); ++n) ++matrix[p.labels[n] * p.classes + predicted(p, n)];
  return matrix;
}

std::vector<ClassScore> class_scores(const std::vector<int64_t>& confusion, int64_t classes) {
  std::vector<ClassScore> scores(classes);
  for (int64_t t = 0; t < classes; ++t) {
    for (int64_t g = 0; g < classes; ++g)
      scores[t].pictures += confusion[t * classes + g], scores[g].given += confusion[t * classes + g];
    scores[t].right = confusion[t * classes + t];
  }
  for (ClassScore& s : scores) {
    const auto right = static_cast<double>(s.right);
    if (s.given > 0) s.precision = right / static_cast<double>(s.given);
    if (s.pictures > 0) s.recall = right / static_cast<double>(s.pictures);
    if (s.right > 0) s.f1 = 2 * right / static_cast<double>(s.given + s.pictures);
  }
  return scores;
}

}  // namespace fewshift
