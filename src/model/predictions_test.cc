// Figures read from predictions, against ones worked out by hand and by other means.
// SPDX-License-Identifier: Apache-2.0
#include "model/predictions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"

namespace fewshift {
namespace {

Predictions of(int64_t classes, std::vector<int64_t> labels, std::vector<float> logits) {
  Predictions p;
  p.classes = classes, p.labels = std::move(labels), p.logits = std::move(logits);
  return p;
}

TEST(Predictions, ConfusionAndScores) {
  const Predictions p = of(3, {0, 0, 1, 1, 1}, {5, 1, 0, 0, 5, 1, 0, 2, 1, 2, 2, 1, 0, 2, 1});
  EXPECT_EQ(predicted(p, 3), 0);  // of equals, the first
  const std::vector<int64_t> matrix = confusion(p);
  EXPECT_EQ(matrix, (std::vector<int64_t>{1, 1, 0, 1, 2, 0, 0, 0, 0}));
  const auto scores = class_scores(matrix, 3);
  EXPECT_DOUBLE_EQ(scores[0].precision, 0.5);
  EXPECT_DOUBLE_EQ(scores[0].recall, 0.5);
  EXPECT_DOUBLE_EQ(scores[1].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores[1].recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores[1].f1, 2.0 / 3);
  EXPECT_EQ(scores[2].pictures + scores[2].given + scores[2].right, 0);
  EXPECT_EQ(scores[2].f1, 0);
}

TEST(Predictions, ProbabilitiesAndLoss) {
  const Predictions p = of(2, {0, 1}, {std::log(3.0f), 0, 1000, -1000});
  EXPECT_NEAR(probabilities(p, 0)[0], 0.75, 1e-7);
  EXPECT_NEAR(probabilities(p, 0, 0.5)[0], 0.9, 1e-7);
  EXPECT_EQ(probabilities(p, 1)[0], 1);
  EXPECT_NEAR(mean_loss(p), (-std::log(0.75) + 2000) / 2, 1e-4);
}

// Logits that are `scale` times those from which the labels were drawn want that temperature.
TEST(Predictions, TheTemperatureIsThatOfTheLabels) {
  Random random{4};
  for (double scale : {0.3, 1.0, 2.5, 8.0}) {
    Predictions p = of(4, {}, {});
    for (int n = 0; n < 20000; ++n) {
      std::vector<double> exact(4);
      for (double& value : exact) value = 1.5 * random.normal();
      for (double value : exact) p.logits.push_back(static_cast<float>(scale * value));
      double total = 0, below = 0;
      for (double value : exact) total += std::exp(value);
      const double draw = random.uniform() * total;
      int64_t label = 0;
      while (label < 3 && (below += std::exp(exact[label])) < draw) ++label;
      p.labels.push_back(label);
    }
    const double found = fit_temperature(p);
    EXPECT_NEAR(found / scale, 1, 0.05);
    for (double other : {0.9, 1.1}) EXPECT_LT(mean_loss(p, found), mean_loss(p, found * other));
    EXPECT_LT(reliability(p, found).expected_error, 0.015);
    if (scale > 2) {
      EXPECT_GT(reliability(p, 1).expected_error, 0.1);
    }
  }
  EXPECT_EQ(fit_temperature(of(2, {}, {})), 1);
}

TEST(Predictions, ReliabilityByHand) {
  // Confidences 0.75 (right), 0.75 (wrong), 1 (right), 0.5 (right).
  const float three = std::log(3.0f);
  const Predictions p = of(2, {0, 1, 0, 0}, {three, 0, three, 0, 1000, 0, 1, 1});
  const Reliability r = reliability(p, 1, 4);
  ASSERT_EQ(r.bins.size(), 4u);
  EXPECT_EQ(r.bins[0].pictures, 0);
  EXPECT_EQ(r.bins[2].pictures, 1);
  EXPECT_EQ(r.bins[3].pictures, 3);
  EXPECT_EQ(r.bins[3].right, 2);
  EXPECT_NEAR(r.bins[3].confidence, 2.5 / 3, 1e-6);
  EXPECT_NEAR(r.expected_error, (0.5 + 0.5) / 4, 1e-6);
}

}  // namespace
}  // namespace fewshift
