// The fused bottleneck against the same operators one by one, in float32 and in double.
// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <set>
#include <sstream>

#include "core/random.h"
#include "ops/active_shift.h"
#include "ops/sparse_shift.h"

namespace fewshift {
namespace {

using torch::Tensor;

struct Case {
  int64_t N, channels, first, hidden, out, H, W, stride;
  bool pool, depthwise, interpolated, residual, learns, squeezes;
  double reach, mean;  // displacements lie in -+ reach; x's mean in deviations
  std::string text() const {
    std::ostringstream s;
    s << "N " << N << " channels " << channels << " first " << first << " hidden " << hidden << " out " << out
      << " H " << H << " W " << W << " stride " << stride
      << (pool           ? " pool"
          : depthwise    ? " depthwise"
          : interpolated ? " asl"
                         : " ssl")
      << (squeezes ? " squeezes" : "") << (residual ? " residual" : "") << (learns ? " learns" : "")
      << " reach " << reach << " mean " << mean;
    return s.str();
  }
};

Case random_case(Random& random) {
  auto below = [&](int64_t n) { return static_cast<int64_t>(random.below(n)); };
  const int64_t sides[] = {1, 3, 4, 5, 7, 8, 9, 14, 16, 17};
  const double reaches[] = {0, 0.6, 1.5, 1.5, 3, 40};
  Case c{};
  c.N = 1 + below(5);
  c.channels = 1 + below(19);
  c.hidden = 1 + below(40);
  c.H = sides[below(10)], c.W = sides[below(10)];
  c.pool = std::min(c.H, c.W) > 1 && random.chance(0.25);
  c.stride = c.pool ? 2 : 1 + below(3) / 2;
  c.depthwise = !c.pool && random.chance(0.2);
  c.interpolated = !c.pool && !c.depthwise && random.chance(0.25);
  c.learns = random.chance(0.6);
  c.squeezes = random.chance(0.25);
  c.residual = c.stride == 1 && random.chance(0.5);
  c.first = c.residual && random.chance(0.5) ? below(c.channels) : 0;
  c.out = c.residual ? c.channels - c.first : 1 + below(20);
  // One pixel has no variance; two are -1 and 1 whatever they were, and the gradient is rounding alone.
  if (c.N * (c.H / c.stride) * (c.W / c.stride) < 3) c.N = 3;
  c.reach = reaches[below(6)];
  c.mean = random.chance(0.3) ? 10 : 0.5;
  return c;
}

// In the order of the gradients: x, expand, gamma1, beta1, project, gamma2, beta2, displacement or depthwise
// weight.
std::vector<Tensor> inputs(const Case& c) {
  const int64_t width = c.channels - c.first;
  const auto wide = torch::kDouble;
  Tensor x =
      torch::randn({c.N, c.channels, c.H, c.W}, wide) + c.mean * torch::randn({1, c.channels, 1, 1}, wide);
  // A channel in four at exact halves, a half of them at whole pixels.
  Tensor u = (torch::rand({c.hidden, 2}, wide) * 2 - 1) * c.reach;
  u = torch::where(torch::rand({c.hidden, 1}, wide) < 0.25, (u * 2).round() / 2, u);
  std::vector<Tensor> all{x,
                          torch::randn({c.hidden, width, 1, 1}, wide) / std::sqrt(double(width)),
                          1 + 0.3 * torch::randn({c.hidden}, wide),
                          0.3 * torch::randn({c.hidden}, wide),
                          torch::randn({c.out, c.hidden, 1, 1}, wide) / std::sqrt(double(c.hidden)),
                          1 + 0.3 * torch::randn({c.out}, wide),
                          0.3 * torch::randn({c.out}, wide),
                          c.depthwise ? torch::randn({c.hidden, 1, 3, 3}, wide) / 3 : u};
  for (Tensor& t : all) t = t.to(torch::kFloat);  // the same numbers for all
  return all;
}

bool few_numbers(const Case& c) {
  return c.channels - c.first < 4 || c.hidden < 4 || c.out < 4 ||
         c.N * (c.H / c.stride) * (c.W / c.stride) < 32 || c.reach > 3;
}

struct Outcome {
  std::vector<Tensor> values;  // y, statistics, gradients
  Tensor before;               // the ReLU
};

const char* const kNames[] = {"y",       "mean1",  "variance1", "mean2",   "variance2", "dx",      "dexpand",
                              "dgamma1", "dbeta1", "dproject",  "dgamma2", "dbeta2",    "dspatial"};

std::vector<Tensor> leaves(const std::vector<Tensor>& given, at::ScalarType type, const Case& c) {
  std::vector<Tensor> all;
  for (const Tensor& t : given) all.push_back(t.detach().to(type).clone().requires_grad_(true));
  if (!c.learns) all.back().requires_grad_(false);
  return all;
}

void differentiate(const Tensor& y, const Tensor& grad, const std::vector<Tensor>& in, Outcome& outcome) {
  (y * grad.to(y.scalar_type())).sum().backward();
  for (const Tensor& t : in) {
    if (t.grad().defined()) outcome.values.push_back(t.grad());
  }
}

Tensor norm(const Tensor& h, const Tensor& gamma, const Tensor& beta, Outcome& outcome) {
  const Tensor d = h.detach();
  outcome.values.push_back(d.mean({0, 2, 3}));
  outcome.values.push_back(d.var(at::IntArrayRef{0, 2, 3}, false));
  return torch::batch_norm(h, gamma, beta, {}, {}, true, 0.1, 1e-5, false);
}

Tensor spatial(const Case& c, const Tensor& a, const Tensor& u) {
  if (c.pool) return torch::avg_pool2d(a, 2);
  if (c.depthwise) return torch::conv2d(a, u, {}, c.stride, 1, 1, c.hidden);
  return c.interpolated ? active_shift(a, u, c.stride) : sparse_shift(a, u, c.stride);
}

// Squeeze-and-excitation's scale, of one weight only: [N,hidden,1,1].
Tensor scale_of(const Tensor& mean) {
  return torch::sigmoid(2 * mean - mean.flip(1));
}

Outcome plain(const Case& c, const std::vector<Tensor>& given, const Tensor& grad, at::ScalarType type) {
  const auto in = leaves(given, type, c);
  Outcome outcome;
  outcome.values.emplace_back();
  const Tensor x = in[0].slice(1, c.first);
  const Tensor h = norm(torch::conv2d(x, in[1]), in[2], in[3], outcome);
  outcome.before = h.detach();
  const Tensor a = torch::relu(h);
  Tensor moved = spatial(c, a, in[7]);
  if (c.squeezes) moved = moved * scale_of(moved.mean({2, 3}, true));
  Tensor y = norm(torch::conv2d(moved, in[4]), in[5], in[6], outcome);
  if (c.residual) y = torch::cat({in[0].slice(1, 0, c.first), x + y}, 1);
  outcome.values[0] = y.detach();
  differentiate(y, grad, in, outcome);
  return outcome;
}

Bottleneck unit_of(const Case& c, const std::vector<Tensor>& in) {
  Bottleneck b;
  b.x = in[0], b.first = c.first;
  b.expand = in[1], b.gamma1 = in[2], b.beta1 = in[3];
  b.project = in[4], b.gamma2 = in[5], b.beta2 = in[6];
  if (!c.pool) (c.depthwise ? b.depthwise : b.displacement) = in[7];
  b.interpolated = c.interpolated, b.stride = c.stride, b.residual = c.residual;
  return b;
}

using Hidden = Bottleneck::Hidden;

Outcome fused(const Case& c, const std::vector<Tensor>& given, const Tensor& grad,
              Hidden hidden = Hidden::kAuto, PlanarOperands operands = PlanarOperands::kFloat) {
  const auto in = leaves(given, torch::kFloat, c);
  Bottleneck unit = unit_of(c, in);
  unit.hidden = hidden, unit.operands = operands;
  if (c.squeezes) unit.scale = scale_of(pooled_hidden(unit).unsqueeze(2).unsqueeze(3)).flatten(1);
  const BottleneckResult r = fused_bottleneck(unit);
  Outcome outcome;
  outcome.values = {r.y.detach(), r.mean1, r.variance1, r.mean2, r.variance2};
  differentiate(r.y, grad, in, outcome);
  return outcome;
}

double distance(const Tensor& a, const Tensor& b) {
  return (a.to(torch::kDouble) - b).norm().item<double>();
}

// The same unit with its images and channels in another order: other roundings.
std::vector<Tensor> reordered(const Case& c, const std::vector<Tensor>& given, Tensor& grad) {
  const Tensor images = torch::randperm(c.N), read = torch::randperm(c.channels - c.first),
               hidden = torch::randperm(c.hidden), out = c.residual ? read : torch::randperm(c.out);
  auto behind_first = [&](const Tensor& order) {
    return torch::cat({torch::arange(c.first), c.first + order});
  };
  grad = grad.index_select(0, images).index_select(1, behind_first(out));
  return {given[0].index_select(0, images).index_select(1, behind_first(read)),
          given[1].index_select(0, hidden).index_select(1, read),
          given[2].index_select(0, hidden),
          given[3].index_select(0, hidden),
          given[4].index_select(0, out).index_select(1, hidden),
          given[5].index_select(0, out),
          given[6].index_select(0, out),
          given[7].index_select(0, hidden)};
}

// In L2, against the same numbers in double: no tensor errs more than four times as much as the plain path's.
// One error is luck, so both are taken over some orders of images and channels; where a few numbers decide
// (few channels or pixels, shifts that leave the map), over twelve of them and all cases.
TEST(FusedBottleneck, ErrsLittleMoreThanThePlainPath) {
  if (!has_fused_bottleneck()) GTEST_SKIP() << "bottlenecks are not fused on this processor";
  Random random{5};
  torch::manual_seed(5);
  int tried = 0;
  std::map<std::string, std::pair<double, int>> few;  // sum of squared ratios, how many
  for (int round = 0; tried < 200; ++round) {
    ASSERT_LT(round, 5000);
    const Case c = random_case(random);
    if (c.N == 1 || c.hidden == 1) continue;  // hardly another order
    auto given = inputs(c);
    Tensor grad = torch::randn({c.N, c.first + c.out, (c.H + (c.pool ? 0 : c.stride - 1)) / c.stride,
                                (c.W + (c.pool ? 0 : c.stride - 1)) / c.stride});
    Outcome exact = plain(c, given, grad, torch::kDouble);
    if (exact.before.abs().min().item<double>() < 1e-4) continue;  // rounding decides the ReLU
    ++tried;
    std::vector<double> ours(exact.values.size()), others(exact.values.size()), sizes(exact.values.size());
    for (int order = 0; order < (few_numbers(c) ? 12 : 4); ++order) {
      if (order > 0) {
        given = reordered(c, given, grad);
        exact = plain(c, given, grad, torch::kDouble);
      }
      const Outcome p = plain(c, given, grad, torch::kFloat), f = fused(c, given, grad);
      ASSERT_EQ(f.values.size(), exact.values.size()) << c.text();
      for (size_t k = 0; k < exact.values.size(); ++k) {
        ASSERT_EQ(f.values[k].sizes(), exact.values[k].sizes()) << kNames[k] << " " << c.text();
        ours[k] += std::pow(distance(f.values[k], exact.values[k]), 2);
        others[k] += std::pow(distance(p.values[k], exact.values[k]), 2);
        sizes[k] += exact.values[k].square().sum().item<double>();
      }
    }
    for (size_t k = 0; k < ours.size(); ++k) {
      if (sizes[k] == 0) {
        EXPECT_LE(ours[k], 1e-8) << kNames[k] << ": " << c.text();
        continue;
      }
      // That of the result's own rounding is nobody's merit.
      const double ratio = ours[k] / (others[k] + sizes[k] * std::pow(2.0, -48) / 3);
      if (few_numbers(c)) {
        few[kNames[k]].first += ratio, few[kNames[k]].second += 1;
      } else {
        EXPECT_LE(ratio, 16) << kNames[k] << " of size " << std::sqrt(sizes[k]) << ": " << c.text();
      }
    }
  }
  for (const auto& [name, ratios] : few) EXPECT_LE(ratios.first, 16 * ratios.second) << name;
}

TEST(FusedBottleneck, GivesTheSameWithAnyNumberOfThreads) {
  Random random{6};
  torch::manual_seed(6);
  const int before = at::get_num_threads();
  for (int round = 0; round < 20; ++round) {
    Case c = random_case(random);
    c.N = 1 + static_cast<int64_t>(random.below(20));
    const auto given = inputs(c);
    at::set_num_threads(1);
    const Tensor grad = torch::randn_like(fused_bottleneck(unit_of(c, given)).y);
    const Outcome one = fused(c, given, grad);
    at::set_num_threads(3);
    const Outcome three = fused(c, given, grad);
    at::set_num_threads(before);
    for (size_t k = 0; k < one.values.size(); ++k)
      EXPECT_TRUE(one.values[k].equal(three.values[k])) << kNames[k] << ": " << c.text();
  }
}

// Kept in float32 it is what it would be made to again; in bfloat16, the gradients that multiply it are
// rounded a little (2^-9 a factor), the others, which ask for its sign alone, not at all.
TEST(FusedBottleneck, KeepsTheHiddenActivation) {
  Random random{10};
  torch::manual_seed(10);
  std::map<std::string, std::pair<double, double>> rounded;  // squares of errors and sizes
  for (int round = 0; round < 60; ++round) {
    Case c = random_case(random);
    c.N = 1 + static_cast<int64_t>(random.below(20));
    const auto given = inputs(c);
    const Tensor grad = torch::randn_like(fused_bottleneck(unit_of(c, given)).y);
    const Outcome again = fused(c, given, grad, Hidden::kRecompute),
                  kept = fused(c, given, grad, Hidden::kFloat), half = fused(c, given, grad, Hidden::kBf16);
    for (size_t k = 0; k < again.values.size(); ++k) {
      EXPECT_TRUE(again.values[k].equal(kept.values[k])) << kNames[k] << ": " << c.text();
      if (c.squeezes) continue;  // the scale's gradient multiplies it, and all others follow
      const std::string name = kNames[k];
      if (name == "dproject" || name == "dspatial") {
        rounded[name].first += std::pow(distance(half.values[k], again.values[k].to(torch::kDouble)), 2);
        rounded[name].second += std::pow(again.values[k].norm().item<double>(), 2);
      } else {
        EXPECT_TRUE(again.values[k].equal(half.values[k])) << name << ": " << c.text();
      }
    }
  }
  for (const auto& [name, squares] : rounded) {
    EXPECT_GT(squares.first, 0) << name;
    EXPECT_LE(std::sqrt(squares.first / squares.second), 4e-3) << name;
  }
}

// Operands rounded to bfloat16: errors of 2^-9 a factor, and of pre-activations that a rounding carries over
// zero. Kept or made again, the hidden activation is the same.
TEST(FusedBottleneck, MultipliesBfloat16s) {
  Random random{11};
  torch::manual_seed(11);
  std::map<std::string, std::pair<double, double>> rounded;  // squares of errors and sizes
  for (int round = 0; round < 100; ++round) {
    Case c = random_case(random);
    c.N = 1 + static_cast<int64_t>(random.below(20));
    const auto given = inputs(c);
    const Tensor grad = torch::randn_like(fused_bottleneck(unit_of(c, given)).y);
    const Outcome exact = fused(c, given, grad),
                  again = fused(c, given, grad, Hidden::kRecompute, PlanarOperands::kBf16),
                  kept = fused(c, given, grad, Hidden::kBf16, PlanarOperands::kBf16),
                  paired = fused(c, given, grad, Hidden::kBf16, PlanarOperands::kPairs);
    for (size_t k = 0; k < exact.values.size(); ++k) {
      EXPECT_TRUE(again.values[k].equal(kept.values[k])) << kNames[k] << ": " << c.text();
      const double size = std::pow(exact.values[k].norm().item<double>(), 2);
      auto add = [&](const std::string& name, const Outcome& outcome, const Tensor& from) {
        rounded[name].first += std::pow(distance(outcome.values[k], from.to(torch::kDouble)), 2);
        rounded[name].second += size;
      };
      add(kNames[k], kept, exact.values[k]);
      add(std::string("pairs: ") + kNames[k], paired, kept.values[k]);
    }
  }
  const std::set<std::string> behind_the_relu = {"dx", "dexpand", "dgamma1", "dbeta1"};
  for (const auto& [name, squares] : rounded) {
    const double error = std::sqrt(squares.first / squares.second);
    EXPECT_LE(error, behind_the_relu.count(name) ? 6e-2 : 6e-3) << name;
  }
}

TEST(FusedBottleneck, TakesRunningStatistics) {
  Random random{7};
  torch::manual_seed(7);
  const torch::NoGradGuard no_grad;
  for (int round = 0; round < 60; ++round) {
    const Case c = random_case(random);
    const auto in = inputs(c);
    Bottleneck b = unit_of(c, in);
    b.mean1 = torch::randn({c.hidden}), b.variance1 = torch::rand({c.hidden}) + 0.1;
    b.mean2 = torch::randn({c.out}), b.variance2 = torch::rand({c.out}) + 0.1;
    const Tensor x = in[0].slice(1, c.first);
    const Tensor a = torch::relu(torch::batch_norm(torch::conv2d(x, in[1]), in[2], in[3], b.mean1,
                                                   b.variance1, false, 0.1, 1e-5, false));
    Tensor moved = spatial(c, a, in[7]);
    if (c.squeezes) {
      moved = moved * scale_of(moved.mean({2, 3}, true));
      b.scale = scale_of(pooled_hidden(b).unsqueeze(2).unsqueeze(3)).flatten(1);
    }
    Tensor y = torch::batch_norm(torch::conv2d(moved, in[4]), in[5], in[6], b.mean2, b.variance2, false, 0.1,
                                 1e-5, false);
    if (c.residual) y = torch::cat({in[0].slice(1, 0, c.first), x + y}, 1);
    EXPECT_TRUE(torch::allclose(fused_bottleneck(b).y, y, 1e-4, 1e-4 * (1 + c.mean))) << c.text();
  }
}

// (Sum of dL/dy * (x - y))^2, image by image, for what the shift reads and writes.
TEST(FusedBottleneck, MeasuresWhatARemovalCosts) {
  Random random{8};
  torch::manual_seed(8);
  for (int round = 0; round < 40; ++round) {
    Case c = random_case(random);
    c.pool = c.depthwise = c.interpolated = c.squeezes = false;
    if (c.stride == 2) c.residual = false, c.first = 0;
    if (c.residual) c.out = c.channels - c.first;
    const auto given = inputs(c);
    auto in = leaves(given, torch::kFloat, c);
    Bottleneck b = unit_of(c, in);
    b.removal_cost = torch::zeros({c.hidden}, torch::kDouble);
    const Tensor y = fused_bottleneck(b).y, grad = torch::randn_like(y);
    (y * grad).sum().backward();

    in = leaves(given, torch::kDouble, c);
    const Tensor x = in[0].slice(1, c.first);
    const Tensor a =
        torch::relu(torch::batch_norm(torch::conv2d(x, in[1]), in[2], in[3], {}, {}, true, 0.1, 1e-5, false));
    const Tensor moved = sparse_shift(a, in[7], c.stride);
    moved.retain_grad();
    Tensor z = torch::batch_norm(torch::conv2d(moved, in[4]), in[5], in[6], {}, {}, true, 0.1, 1e-5, false);
    if (c.residual) z = torch::cat({in[0].slice(1, 0, c.first), x + z}, 1);
    (z * grad.to(torch::kDouble)).sum().backward();
    const Tensor still = a.slice(2, 0, c.H, c.stride).slice(3, 0, c.W, c.stride);
    const Tensor expected = (moved.grad() * (still - moved)).sum({2, 3}).square().sum(0).detach();
    EXPECT_TRUE(torch::allclose(b.removal_cost, expected, 1e-3, 1e-3 * expected.max().item<double>() + 1e-9))
        << c.text();
  }
}

TEST(FusedBottleneck, RefusesWhatDoesNotFit) {
  Random random{9};
  Case c{};
  c.N = 1, c.channels = 4, c.hidden = 6, c.out = 4, c.H = c.W = 3, c.stride = 1;
  const auto in = inputs(c);
  auto with = [&](auto change) {
    Bottleneck b = unit_of(c, in);
    change(b);
    return b;
  };
  EXPECT_NO_THROW(fused_bottleneck(with([](Bottleneck&) {})));
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.x = b.x.to(torch::kDouble); })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.x = b.x[0]; })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.first = 4; })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.first = 1; })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.stride = 3; })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.residual = true, b.stride = 2; })), c10::Error);
  EXPECT_THROW(fused_bottleneck(with([](Bottleneck& b) { b.project = b.project.slice(1, 1); })), c10::Error);
}

}  // namespace
}  // namespace fewshift
