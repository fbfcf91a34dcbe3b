// SPDX-License-Identifier: Apache-2.0
#include "nn/dropout.h"

namespace fewshift {
namespace {

int64_t g_first = 0, g_pictures = 0;

}  // namespace

void set_dropout_place(int64_t first, int64_t pictures) {
  g_first = first, g_pictures = pictures;
}

torch::Tensor drop(const torch::nn::DropoutImpl& dropout, const torch::Tensor& x) {
  const double kept = 1 - dropout.options.p();
  if (!dropout.is_training() || kept == 1) return x;
  if (kept == 0) return x * 0;
  const int64_t pictures = g_pictures > 0 ? g_pictures : x.size(0);
  TORCH_CHECK(g_first + x.size(0) <= pictures, "dropout: more pictures than the batch has");
  const torch::Tensor mask =
      at::empty({pictures, x.size(1)}, x.options().requires_grad(false)).bernoulli_(kept).div_(kept);
  return x * mask.narrow(0, g_first, x.size(0));
}

}  // namespace fewshift
