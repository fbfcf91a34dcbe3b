// SPDX-License-Identifier: Apache-2.0
#include "train/average.h"

#include <algorithm>

namespace fewshift {

void update_average(const Network& network, double decay, int64_t step, Network& average) {
  torch::NoGradGuard no_grad;
  const double s = static_cast<double>(step), d = std::min(decay, (1 + s) / (10 + s));
  auto blend = [&](const auto& from, const auto& to) {
    for (size_t k = 0; k < from.size(); ++k) {
      const torch::Tensor now = from[k].value().detach();
      torch::Tensor mean = to[k].value();
      if (!now.is_floating_point() || from[k].key().ends_with(".displacement") ||
          from[k].key().ends_with(".start")) {
        mean.copy_(now);
      } else {
        mean.lerp_(now, 1 - d);
      }
    }
  };
  blend(network->named_parameters().items(), average->named_parameters().items());
  blend(network->named_buffers().items(), average->named_buffers().items());
}

}  // namespace fewshift
