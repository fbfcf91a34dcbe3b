// The GPU's kernels, thread by thread on the CPU, against the CPU's own operators.
// SPDX-License-Identifier: Apache-2.0
#include "ops/shift_elements.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/random.h"
#include "ops/active_shift.h"
#include "ops/shift_gradients.h"
#include "ops/sparse_shift.h"

namespace fewshift {
namespace {

using namespace elements;
using torch::Tensor;

TEST(ShiftElements, Divide) {
  Random random{5};
  for (int round = 0; round < 100000; ++round) {
    const auto by = static_cast<uint32_t>(1 + random.below(random.chance(0.5) ? 300 : 1 << 24));
    const auto n = static_cast<uint32_t>(random.below(1u << 31));
    ASSERT_EQ(Division(by)(n), n / by) << n << " / " << by;
    ASSERT_EQ(Division(by)(n / by * by), n / by) << n << " / " << by;
  }
}

// x's values through every thread of the kernels of one stride and direction.
template <bool kAdjoint, int kStride>
void expect_same(const Tensor& x, const Tensor& u, const Tensor& sparse, const Tensor& active,
                 bool channels_last) {
  const Geometry g{static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), static_cast<int>(x.size(3)),
                   static_cast<int>(sparse.size(2)), static_cast<int>(sparse.size(3))};
  const auto N = static_cast<int>(x.size(0));
  const auto rows = static_cast<uint32_t>(N * g.to_height);
  const float* const in = x.const_data_ptr<float>();
  const Tensor moves = u.contiguous(), rounded = u.round().contiguous();
  const float *const real = moves.const_data_ptr<float>(), *const whole = rounded.const_data_ptr<float>();
  Tensor y = torch::full_like(sparse, 7), z = torch::full_like(active, 7);
  float *const to_y = y.mutable_data_ptr<float>(), *const to_z = z.mutable_data_ptr<float>();
  if (channels_last) {
    const Rows<float, float, kAdjoint, kStride, 1> one{in, to_y, whole, g, rows, Division(g.to_height)};
    const Rows<float, float, kAdjoint, kStride, 2> two{in, to_y, whole, g, rows, Division(g.to_height)};
    const Interpolated<float, float, kAdjoint, kStride, true> line{
        in, to_z, real, g, rows, Division(g.to_height), {}};
    for (uint32_t row = 0; row < rows + 1; ++row) {
      for (int c = 0; c < g.channels + 3; ++c) {
        line(c, row);
        if (g.channels % 2 == 0 && c % 2 == 0) two(c, row);
        if (g.channels % 2 != 0) one(c, row);
      }
    }
  } else {
    const auto count = static_cast<uint32_t>(y.numel()),
               columns = static_cast<uint32_t>(N * g.channels * g.to_width);
    const Planes<float, float, kAdjoint, kStride> four{
        in, to_y, whole, g, count, true, Division(g.to_size()), Division(g.to_width), Division(g.channels)};
    const Interpolated<float, float, kAdjoint, kStride, false> line{
        in, to_z, real, g, columns, Division(g.to_width), Division(g.channels)};
    for (uint32_t thread = 0; thread < count / 4 + 2; ++thread) four(thread);
    for (uint32_t column = 0; column < columns + 1; ++column) line(0, column);
  }
  EXPECT_TRUE(torch::equal(y, sparse));
  EXPECT_TRUE(torch::allclose(z, active, 1e-5, 1e-5));
}

template <int kStride>
void expect_gradient(const Tensor& grad, const Tensor& x, const Tensor& u, bool channels_last) {
  const Geometry g{static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), static_cast<int>(x.size(3)),
                   static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  Tensor sums = torch::zeros({g.channels, 2});
  for (int n = 0; n < x.size(0); ++n) {
    for (int c = 0; c < g.channels; ++c) {
      float both[2] = {};
      const float* const from =
          grad.const_data_ptr<float>() +
          (channels_last ? n * g.channels * g.to_size() + c : (n * g.channels + c) * g.to_size());
      const float* const map =
          x.const_data_ptr<float>() +
          (channels_last ? n * g.channels * g.from_size() + c : (n * g.channels + c) * g.from_size());
      for (int at = 0; at < (channels_last ? g.to_height : g.to_width); ++at) {
        const float y = u[c][0].item<float>(), dx = u[c][1].item<float>();
        channels_last ? add_gradient<true, kStride>(from, map, at, y, dx, g, both)
                      : add_gradient<false, kStride>(from, map, at, y, dx, g, both);
      }
      sums[c] += torch::tensor({both[0], both[1]});
    }
  }
  EXPECT_TRUE(torch::allclose(sums, shift_grad_displacement(grad, x, u, kStride), 1e-4, 1e-4));
}

TEST(ShiftElements, DoAsTheCpuDoes) {
  Random random{3};
  torch::manual_seed(3);
  auto side = [&] { return 1 + static_cast<int64_t>(random.below(9)); };
  for (int round = 0; round < 120; ++round) {
    const int64_t N = 1 + random.below(3), C = 1 + random.below(6), H = side(), W = side(),
                  stride = 1 + round % 2;
    const bool last = random.chance(0.5);
    const auto format = last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    const double reaches[] = {0.6, 2, 12, 1e7};
    Tensor u = (torch::rand({C, 2}) * 2 - 1) * reaches[random.below(4)];
    if (random.chance(0.3)) u = (u * 2).round() / 2;
    if (random.chance(0.2)) u[0] = torch::tensor({std::nanf(""), INFINITY});
    const int64_t h = (H + stride - 1) / stride, w = (W + stride - 1) / stride;
    // The strides of maps with one channel or pixel say too little to tell the layout: as the kernels want
    // them.
    auto laid = [&](Tensor t) { return torch::empty(t.sizes(), t.options(), format).copy_(t); };
    const Tensor x = laid(torch::randn({N, C, H, W})), grad = laid(torch::randn({N, C, h, w}));
    SCOPED_TRACE(testing::Message() << "N " << N << " C " << C << " " << H << "x" << W << " stride " << stride
                                    << (last ? " channels_last" : ""));
    const Tensor sparse = laid(sparse_shift(x, u, stride)), active = laid(active_shift(x, u, stride)),
                 sparse_x = laid(sparse_shift_grad_x(grad, u, H, W, stride)),
                 active_x = laid(active_shift_grad_x(grad, u, H, W, stride));
    if (stride == 1) {
      expect_same<false, 1>(x, u, sparse, active, last);
      expect_same<true, 1>(grad, u, sparse_x, active_x, last);
      expect_gradient<1>(grad, x, u, last);
    } else {
      expect_same<false, 2>(x, u, sparse, active, last);
      expect_same<true, 2>(grad, u, sparse_x, active_x, last);
      expect_gradient<2>(grad, x, u, last);
    }
  }
}

}  // namespace
}  // namespace fewshift
