// SPDX-License-Identifier: Apache-2.0
#include "ops/batch_norm_sums.h"

#include <torch/torch.h>

#include <utility>

namespace fewshift {
namespace {

AddUp g_add_up;

}  // namespace

void set_batch_norm_sums(AddUp add_up) {
  g_add_up = std::move(add_up);
}
bool has_batch_norm_sums() {
  return static_cast<bool>(g_add_up);
}

void add_up_sums(std::vector<double>& sums) {
  if (!g_add_up) return;
  at::Tensor tensor = at::from_blob(sums.data(), {static_cast<int64_t>(sums.size())}, at::kDouble);
  g_add_up(tensor);
}
void add_up_sums(at::Tensor& sums) {
  if (g_add_up) g_add_up(sums);
}

void merge_moments(at::Tensor& mean, at::Tensor& variance, double& count) {
  if (!g_add_up) return;
  const at::Tensor m = mean.to(at::kDouble), squares = (variance.to(at::kDouble) + m * m) * count;
  at::Tensor sums = at::cat({m * count, squares, at::full({1}, count, m.options())});
  g_add_up(sums);
  count = sums[-1].item<double>();
  const at::Tensor all = sums.slice(0, 0, mean.size(0)) / count;
  variance = (sums.slice(0, mean.size(0), 2 * mean.size(0)) / count - all * all)
                 .clamp_min(0.0)
                 .to(variance.scalar_type());
  mean = all.to(mean.scalar_type());
}

}  // namespace fewshift
