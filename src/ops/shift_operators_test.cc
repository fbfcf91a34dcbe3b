// The shift operators against their plain references, on random shapes, in every type and layout, and at the
// edges. SPDX-License-Identifier: Apache-2.0
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>

#include "core/random.h"
#include "ops/active_shift.h"
#include "ops/shift_gradients.h"
#include "ops/shift_ref.h"
#include "ops/sparse_shift.h"

namespace fewshift {
namespace {

using torch::Tensor;

struct Operator {
  const char* name;
  Tensor (*shift)(const Tensor& x, const Tensor& displacement, int64_t stride);
  Tensor (*reference)(const Tensor& x, const Tensor& displacement, int64_t stride);
  bool exact;  // it moves numbers and computes none
};

const Operator kSparse = {"sparse_shift", sparse_shift, reference::sparse_shift, true};
const Operator kActive = {"active_shift", active_shift, reference::bilinear_shift, false};

class Shift : public testing::TestWithParam<Operator> {};
INSTANTIATE_TEST_SUITE_P(Operators, Shift, testing::Values(kSparse, kActive),
                         [](const auto& info) { return std::string(info.param.name); });

struct Case {
  int64_t N, C, H, W, stride;
  double reach;  // displacements lie in -+ this
  bool halves;   // all at exact halves
  at::ScalarType type;
  bool channels_last;
};

Case random_case(Random& random) {
  const at::ScalarType types[] = {torch::kFloat, torch::kDouble, torch::kBFloat16};
  const double reaches[] = {0.6, 1.5, 3.0, 12.0, 1000.0};
  auto side = [&] { return 1 + static_cast<int64_t>(random.below(11)); };
  Case c;
  c.N = 1 + random.below(3);
  c.C = 1 + random.below(40);
  c.H = side();
  c.W = side();
  c.stride = 1 + random.below(2);
  c.reach = reaches[random.below(5)];
  c.halves = random.chance(0.2);
  c.type = types[random.below(3)];
  c.channels_last = random.chance(0.7);
  return c;
}

Tensor input(const Case& c) {
  const Tensor x = torch::randn({c.N, c.C, c.H, c.W}, torch::kDouble).to(c.type);
  return c.channels_last ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

Tensor displacements(const Case& c) {
  Tensor u = (torch::rand({c.C, 2}, torch::kDouble) * 2 - 1) * c.reach;
  if (c.halves) u = (u * 2).round() / 2;
  return c.type == torch::kDouble ? u : u.to(torch::kFloat);
}

std::string name(const Case& c) {
  std::ostringstream out;
  out << "N " << c.N << " C " << c.C << " H " << c.H << " W " << c.W << " stride " << c.stride << " reach "
      << c.reach << " type " << c.type << (c.channels_last ? " channels_last" : " contiguous");
  return out.str();
}

// Equal, or for what computes, within the rounding of the type.
void expect_close(const Tensor& is, const Tensor& should, bool exact, const Case& c) {
  const Tensor actual = is.to(torch::kDouble);
  if (exact) {
    ASSERT_TRUE(torch::equal(actual, should)) << name(c);
    return;
  }
  const double rounding = c.type == torch::kDouble ? 1e-13 : c.type == torch::kFloat ? 1e-6 : 4e-3;
  ASSERT_TRUE(torch::allclose(actual, should, rounding, 4 * rounding)) << name(c);
}

TEST_P(Shift, ForwardIsTheReference) {
  torch::manual_seed(1);
  Random random{1};
  for (int k = 0; k < 300; ++k) {
    const Case c = random_case(random);
    const Tensor x = input(c), u = displacements(c);
    const Tensor y = GetParam().shift(x, u, c.stride);
    EXPECT_EQ(y.scalar_type(), c.type);
    expect_close(y, GetParam().reference(x, u, c.stride), GetParam().exact, c);
  }
}

TEST_P(Shift, KeepsTheMemoryLayout) {
  const Tensor x = torch::randn({2, 5, 6, 7});
  const Tensor u = torch::randn({5, 2});
  EXPECT_TRUE(GetParam().shift(x, u, 1).is_contiguous());
  EXPECT_TRUE(GetParam()
                  .shift(x.contiguous(at::MemoryFormat::ChannelsLast), u, 1)
                  .is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(GetParam()
                  .shift(x.contiguous(at::MemoryFormat::ChannelsLast), u, 2)
                  .is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(SparseShift, RoundsHalvesToEven) {
  const Tensor x = torch::arange(7, torch::kFloat).view({1, 1, 1, 7});
  auto first = [&](double dx) {
    return sparse_shift(x, torch::tensor({{0.0, dx}}, torch::kFloat))[0][0][0][3].item<float>();
  };
  EXPECT_EQ(first(0.5), 3);
  EXPECT_EQ(first(1.5), 5);
  EXPECT_EQ(first(2.5), 5);
  EXPECT_EQ(first(-0.5), 3);
  EXPECT_EQ(first(-1.5), 1);
}

TEST(ActiveShift, OnWholePixelsIsTheSparseShift) {
  torch::manual_seed(5);
  const Tensor x = torch::randn({2, 9, 7, 6}), u = (torch::randn({9, 2}) * 3).round();
  EXPECT_TRUE(torch::equal(active_shift(x, u), sparse_shift(x, u)));
  EXPECT_TRUE(torch::equal(active_shift(x, u, 2), sparse_shift(x, u, 2)));
}

TEST(ActiveShift, BetweenPixelsIsTheirMean) {
  const Tensor x = torch::arange(7, torch::kFloat).view({1, 1, 1, 7});
  const Tensor y = active_shift(x, torch::tensor({{0.0, 0.5}}, torch::kFloat));
  EXPECT_TRUE(torch::equal(y.flatten(), torch::tensor({0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 3.0f})));
}

TEST_P(Shift, BeyondTheImageIsZero) {
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const Tensor x = torch::ones({1, 4, 5, 5}).contiguous(format);
    const double inf = std::numeric_limits<double>::infinity();
    const Tensor u =
        torch::tensor({{5.0, 0.0}, {0.0, -5.0}, {1e30, 0.0}, {0.0, inf}}, torch::kFloat).requires_grad_();
    const Tensor y = GetParam().shift(x, u, 1);
    EXPECT_EQ(y.abs().sum().item<float>(), 0);
    y.sum().backward();
    EXPECT_FALSE(u.grad().isnan().any().item<bool>());
  }
}

// <shift(x), g> = <x, adjoint(g)>, spelled out: the operator as a matrix, one column for each pixel of x.
TEST_P(Shift, GradientOfTheInputIsTheAdjoint) {
  torch::manual_seed(2);
  Random random{2};
  for (int k = 0; k < 100; ++k) {
    const Case c = random_case(random);
    const Tensor x = input(c).requires_grad_(), u = displacements(c);
    const Tensor y = GetParam().shift(x, u, c.stride);
    const Tensor g = torch::randn(y.sizes(), torch::kDouble).to(c.type);
    y.backward(g);
    const int64_t pixels = c.H * c.W;
    const Tensor units = torch::eye(pixels).view({pixels, 1, c.H, c.W}).expand({pixels, c.C, c.H, c.W});
    const Tensor columns = GetParam().reference(units, u, c.stride);
    const Tensor expected = torch::einsum("pcij,ncij->ncp", {columns, g.to(torch::kDouble)});
    expect_close(x.grad(), expected.view({c.N, c.C, c.H, c.W}), GetParam().exact, c);
  }
}

// The displacement's gradient against central differences of bilinear interpolation, away from the kinks.
TEST_P(Shift, GradientOfTheDisplacementIsThatOfBilinearInterpolation) {
  torch::manual_seed(3);
  Random random{3};
  for (int k = 0; k < 60; ++k) {
    Case c = random_case(random);
    c.reach = std::min(c.reach, 12.0);
    const Tensor x = input(c);
    Tensor u = displacements(c).to(torch::kDouble);
    const Tensor fraction = u - u.floor();
    u = u.floor() + fraction.clamp(0.1, 0.9);
    Tensor learned = u.to(c.type == torch::kDouble ? torch::kDouble : torch::kFloat).requires_grad_();
    const Tensor y = GetParam().shift(x, learned, c.stride);
    const Tensor g = torch::randn(y.sizes(), torch::kDouble).to(c.type);
    y.backward(g);
    const Tensor base = learned.detach().to(torch::kDouble);
    constexpr double kStep = 1e-4;
    for (int axis = 0; axis < 2; ++axis) {
      Tensor step = torch::zeros_like(base);
      step.select(1, axis).fill_(kStep);
      const Tensor slope = (reference::bilinear_shift(x, base + step, c.stride) -
                            reference::bilinear_shift(x, base - step, c.stride)) /
                           (2 * kStep);
      const Tensor expected = (slope * g.to(torch::kDouble)).sum({0, 2, 3});
      const double tolerance = c.type == torch::kDouble ? 1e-7 : 1e-4 * static_cast<double>(c.N * c.H * c.W);
      ASSERT_TRUE(
          torch::allclose(learned.grad().to(torch::kDouble).select(1, axis), expected, 1e-4, tolerance))
          << name(c);
    }
  }
}

TEST(ShiftGradDisplacement, DoesNotDependOnThreads) {
  torch::manual_seed(4);
  const Tensor x = torch::randn({6, 33, 9, 10}).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor u = torch::randn({33, 2}) * 2, g = torch::randn({6, 33, 9, 10});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = shift_grad_displacement(g, x, u, 1);
  at::set_num_threads(3);
  const Tensor three = shift_grad_displacement(g, x, u, 1);
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(one, three));
}

TEST_P(Shift, FrozenDisplacementsGetNoGradient) {
  const Tensor x = torch::randn({1, 3, 4, 4}).requires_grad_(), u = torch::randn({3, 2});
  GetParam().shift(x, u, 1).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(u.grad().defined());
}

TEST_P(Shift, EmptyBatches) {
  const Tensor u = torch::zeros({3, 2}).requires_grad_();
  const Tensor y = GetParam().shift(torch::zeros({0, 3, 4, 4}), u, 2);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{0, 3, 2, 2}));
  y.sum().backward();
  EXPECT_EQ(u.grad().abs().sum().item<float>(), 0);
}

TEST_P(Shift, RefusesWhatItCannotDo) {
  const Tensor x = torch::zeros({1, 3, 4, 4}), u = torch::zeros({3, 2});
  EXPECT_THROW(GetParam().shift(x[0], u, 1), c10::Error);
  EXPECT_THROW(GetParam().shift(x, torch::zeros({4, 2}), 1), c10::Error);
  EXPECT_THROW(GetParam().shift(x, torch::zeros({3, 3}), 1), c10::Error);
  EXPECT_THROW(GetParam().shift(x, u, 3), c10::Error);
  EXPECT_THROW(GetParam().shift(x, u, 0), c10::Error);
  EXPECT_THROW(GetParam().shift(x.to(torch::kInt), u, 1), c10::Error);
  EXPECT_THROW(GetParam().shift(x, u.to(torch::kInt), 1), c10::Error);
}

TEST_P(Shift, UnderAutocastKeepsTypes) {
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Tensor y = GetParam().shift(torch::ones({1, 3, 4, 4}), torch::zeros({3, 2}), 1);
  const Tensor z = GetParam().shift(torch::ones({1, 3, 4, 4}, torch::kBFloat16),
                                    torch::zeros({3, 2}, torch::kBFloat16).to(torch::kFloat), 1);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
  EXPECT_EQ(z.scalar_type(), torch::kBFloat16);
}

}  // namespace
}  // namespace fewshift
