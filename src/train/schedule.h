// The learning rate, step by step. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "train/recipe.h"

namespace fewshift {

// Linear to recipe.learning_rate over the warm-up, then half a cosine to recipe.final_learning_rate; `step`
// from 0, `batches` an epoch.
inline double learning_rate(const Recipe& recipe, int64_t step, int64_t batches) {
  const double steps = static_cast<double>(recipe.epochs * batches), at = static_cast<double>(step);
  const double warmup = std::min(recipe.warmup_epochs * static_cast<double>(batches), steps);
  const double low = recipe.final_learning_rate, high = recipe.learning_rate;
  if (at < warmup) return high * (at + 1) / (warmup + 1);
  return low + (high - low) * 0.5 *
                   (1 + std::cos(std::numbers::pi * (at - warmup) / std::max(1.0, steps - warmup)));
}

}  // namespace fewshift
