// SPDX-License-Identifier: Apache-2.0
#include "train/interval.h"

#include <cmath>
#include <numeric>

namespace fewshift {
namespace {

constexpr double kNormal = 1.959964;

// Two-sided 95% quantile of Student's t with `freedom` degrees of freedom.
double student(size_t freedom) {
  constexpr double kTable[] = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706,
                               2.4469,  2.3646, 2.3060, 2.2622, 2.2281};
  if (freedom <= std::size(kTable)) return kTable[freedom - 1];
  // Cornish and Fisher's expansion, right to 0.001 from here on.
  const double z = kNormal, n = static_cast<double>(freedom);
  return z + (z * z * z + z) / (4 * n) + (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * n * n);
}

}  // namespace

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Interval wilson_interval(double share, int64_t images) {
  const double n = static_cast<double>(images), z2 = kNormal * kNormal;
  const double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal / (1 + z2 / n) * std::sqrt(share * (1 - share) / n + z2 / (4 * n * n));
  return {middle - half, middle + half};
}

Interval mean_interval(const std::vector<double>& values) {
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  const double half = student(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean - half, mean + half};
}

}  // namespace fewshift
