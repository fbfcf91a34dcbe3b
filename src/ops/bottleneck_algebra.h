// The algebra that gives a pointwise layer's batch norm, and its gradients, from its input's mean and
// covariance (docs/mathematics.md, "Batch norm without a pass"), in double.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift::bottleneck {

// Of the expand's weight W [hidden][width].
struct Statistics {
  int64_t hidden = 0, width = 0;
  std::vector<double> W;
  std::vector<double> WS;              // [hidden][width]: W times the input's covariance
  std::vector<double> mean, variance;  // [hidden]: of W x
};
Statistics statistics(const float* weight, int64_t hidden, const std::vector<double>& mean,
                      const std::vector<double>& covariance);

// With G [hidden][width] the sum over pixels of dA (x - mean - off), off [width] what a float left of the
// mean, r [hidden] that of dA, the gradient before the ReLU, and 1 / sigma and gamma of the batch norm
// ([hidden] each).
struct ExpandGradients {
  std::vector<float> dW, dgamma;  // [hidden][width], [hidden]
  // [width][width + 1]: what times the input less mean and off, and 1, is to be added to its gradient, for
  // what goes through the statistics of so many pixels (of all processes, ops/batch_norm_sums.h).
  std::vector<float> correction;
};
ExpandGradients expand_gradients(const Statistics& s, const double* r_sigma, const double* gamma,
                                 const std::vector<double>& off, const std::vector<double>& G,
                                 const std::vector<double>& r, double pixels);

}  // namespace fewshift::bottleneck
