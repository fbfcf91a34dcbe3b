// How sure an accuracy is.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift {

struct Interval {
  double low, high;
};

// 95% for a share of `images` pictures (Wilson's score interval). share from 0 to 1, images > 0.
Interval wilson_interval(double share, int64_t images);

// 95% for the mean of several runs (Student's t). At least two values.
Interval mean_interval(const std::vector<double>& values);

double mean_of(const std::vector<double>& values);

}  // namespace fewshift
