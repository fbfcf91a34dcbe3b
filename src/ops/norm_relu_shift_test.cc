// The fused operator against the three that it stands for.
// SPDX-License-Identifier: Apache-2.0
#include "ops/norm_relu_shift.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/random.h"
#include "ops/sparse_shift.h"

namespace fewshift {
namespace {

using torch::Tensor;

struct Leaves {
  Tensor h, gamma, beta, displacement;
};

Leaves leaves(int64_t N, int64_t C, int64_t H, int64_t W, double reach) {
  Leaves l;
  l.h = (torch::randn({N, C, H, W}) * 2 + 1).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  l.gamma = (torch::rand({C}) + 0.5).requires_grad_();
  l.beta = torch::randn({C}).requires_grad_();
  l.displacement = ((torch::rand({C, 2}) * 2 - 1) * reach).requires_grad_();
  return l;
}

void expect_close(const Tensor& a, const Tensor& b, const char* what) {
  const double scale = b.abs().max().item<double>() + 1e-3;
  EXPECT_LT((a - b).abs().max().item<double>() / scale, 2e-4) << what;
}

void compare(int64_t N, int64_t C, int64_t H, int64_t W, double reach, int64_t stride, bool batch_statistics,
             double top = std::numeric_limits<double>::infinity()) {
  const double eps = 1e-5;
  Leaves a = leaves(N, C, H, W, reach);
  Leaves b{a.h.detach().clone(at::MemoryFormat::ChannelsLast).requires_grad_(),
           a.gamma.detach().clone().requires_grad_(), a.beta.detach().clone().requires_grad_(),
           a.displacement.detach().clone().requires_grad_()};
  const Tensor mean = torch::randn({C}), variance = torch::rand({C}) + 0.5;
  const auto moments = channel_moments(a.h.detach());
  const Tensor y = norm_relu_shift(a.h, a.gamma, a.beta, batch_statistics ? moments.first : mean,
                                   batch_statistics ? moments.second : variance, batch_statistics, eps,
                                   a.displacement, stride, top);
  const Tensor z = torch::batch_norm(b.h, b.gamma, b.beta, mean.clone(), variance.clone(), batch_statistics,
                                     0.1, eps, false)
                       .clamp(0, top);
  const Tensor expected = sparse_shift(z, b.displacement, stride);
  expect_close(y, expected, "result");
  const Tensor g = torch::randn_like(y);
  y.backward(g);
  expected.backward(g);
  expect_close(a.h.grad(), b.h.grad(), "gradient of h");
  expect_close(a.gamma.grad(), b.gamma.grad(), "gradient of gamma");
  expect_close(a.beta.grad(), b.beta.grad(), "gradient of beta");
  expect_close(a.displacement.grad(), b.displacement.grad(), "gradient of the displacement");
}

TEST(NormReluShift, IsBatchNormReluAndShift) {
  torch::manual_seed(5);
  Random random{5};
  for (int k = 0; k < 60; ++k) {
    const auto side = [&] { return 2 + static_cast<int64_t>(random.below(9)); };
    const double reaches[] = {0.4, 1.5, 3, 30};
    compare(2 + random.below(3), 1 + random.below(70), side(), side(), reaches[random.below(4)],
            1 + random.below(2), random.chance(0.7),
            random.chance(0.3) ? 1.5 : std::numeric_limits<double>::infinity());
  }
}

TEST(NormReluShift, OnOnePixelMaps) {
  torch::manual_seed(6);
  compare(8, 17, 1, 1, 1.5, 1, true);
  compare(8, 17, 1, 1, 1.5, 2, true);
}

TEST(NormReluShift, MomentsAreMeanAndBiasedVariance) {
  torch::manual_seed(7);
  const Tensor h = (torch::randn({3, 19, 5, 7}) + 10).contiguous(at::MemoryFormat::ChannelsLast);
  const auto [mean, variance] = channel_moments(h);
  const Tensor wide = h.to(torch::kDouble);
  EXPECT_TRUE(torch::allclose(mean.to(torch::kDouble), wide.mean({0, 2, 3}), 1e-6, 1e-6));
  EXPECT_TRUE(torch::allclose(variance.to(torch::kDouble), wide.var({0, 2, 3}, false), 1e-4, 1e-4));
}

TEST(NormReluShift, NaNStaysNaN) {  // a training that has gone wrong must be seen to
  const Tensor one = torch::ones({4});
  const Tensor h = torch::full({2, 4, 3, 3}, std::nan("")).contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(norm_relu_shift(h, one, one, one, one, false, 1e-5, torch::zeros({4, 2}), 1)
                  .isnan()
                  .all()
                  .item<bool>());
}

TEST(NormReluShift, RefusesOtherLayouts) {
  const Tensor one = torch::ones({4});
  EXPECT_THROW(norm_relu_shift(torch::zeros({2, 4, 3, 3}), one, one, one, one, true, 1e-5, Tensor(), 1),
               c10::Error);
}

}  // namespace
}  // namespace fewshift
