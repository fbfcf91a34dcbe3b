// With X the input less its mean, S its covariance, w a row of the expand's weight, s = gamma / sigma and
// sigma^2 = w' S w + eps:   hidden = relu(X (w s) + beta).   Backward, dA the gradient before the ReLU, r its
// sum, G = X' dA, P the number of pixels:
//   dbeta = r    dgamma = w' G / sigma    dw = s (G - S w dgamma / sigma)
//   dX = dA (w s)' - X B - sum of (s r / P) w,   B = sum of s dgamma / (P sigma) w w'
// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_expand.h"

#include "ops/batch_norm_sums.h"
#include "ops/shift_geometry.h"

namespace fewshift::bottleneck {
namespace {

using at::Tensor;

// Whatever lies farther off than the map reads zeros alone.
Tap tap(int64_t y, int64_t x, double weight, const Shape& s) {
  const int64_t most_y = s.stride * ((s.H + 1) / s.stride), most_x = s.stride * ((s.W + 1) / s.stride);
  y = std::clamp(y, -most_y, most_y), x = std::clamp(x, -most_x, most_x);
  if (s.stride == 1) return {0, y, x, static_cast<float>(weight)};
  return {2 * (y & 1) + (x & 1), y >> 1, x >> 1, static_cast<float>(weight)};
}

void place_taps(const Bottleneck& u, bool learns, Work& work) {
  const Shape& s = work.shape;
  if (u.depthwise.defined()) {
    work.tap_count = 9;
    const Tensor weight = u.depthwise.detach().contiguous();
    const float* const w = weight.const_data_ptr<float>();
    for (int64_t m = 0; m < s.hidden; ++m) {
      Taps& taps = work.taps.emplace_back();
      for (int64_t t = 0; t < 9; ++t) taps[t] = tap(t / 3 - 1, t % 3 - 1, w[9 * m + t], s);
    }
    if (learns) work.corner_count = 9, work.corners = work.taps;
    return;
  }
  if (!u.displacement.defined()) {
    work.tap_count = 4;
    work.taps.assign(s.hidden, {{{0, 0, 0, 0.25f}, {1, 0, 0, 0.25f}, {2, 0, 0, 0.25f}, {3, 0, 0, 0.25f}}});
    return;
  }
  work.tap_count = u.interpolated ? 4 : 1;
  work.corner_count = learns ? 4 : 0;
  const Size map{s.H, s.W};
  const auto near = whole_shifts(u.displacement.detach(), half_to_even, map),
             floor = whole_shifts(
                 u.displacement.detach(), [](double v) { return std::floor(v); }, map);
  const Tensor moves = wide(u.displacement);
  const double* const v = moves.const_data_ptr<double>();
  for (int64_t m = 0; m < s.hidden; ++m) {
    const auto [y, x] = floor[m];
    const double p = fraction(v[2 * m]), q = fraction(v[2 * m + 1]);
    const Taps corners{tap(y, x, (1 - p) * (1 - q), s), tap(y, x + 1, (1 - p) * q, s),
                       tap(y + 1, x, p * (1 - q), s), tap(y + 1, x + 1, p * q, s)};
    if (learns) work.corners.push_back(corners);
    work.taps.push_back(u.interpolated ? corners : Taps{tap(near[m].dy, near[m].dx, 1, s)});
  }
}

// Of one process's pixels to those of all.
void merge_covariance(std::vector<double>& mean, std::vector<double>& covariance, double& pixels) {
  if (!has_batch_norm_sums()) return;
  const size_t C = mean.size();
  std::vector<double> sums{pixels};
  for (size_t i = 0; i < C; ++i) sums.push_back(pixels * mean[i]);
  for (size_t i = 0; i < C; ++i) {
    for (size_t j = i; j < C; ++j) sums.push_back(pixels * (covariance[i * C + j] + mean[i] * mean[j]));
  }
  add_up_sums(sums);
  pixels = sums[0];
  for (size_t i = 0; i < C; ++i) mean[i] = sums[1 + i] / pixels;
  size_t k = 1 + C;
  for (size_t i = 0; i < C; ++i) {
    for (size_t j = i; j < C; ++j)
      covariance[i * C + j] = covariance[j * C + i] = sums[k++] / pixels - mean[i] * mean[j];
  }
}

}  // namespace

Shape shape_of(const Bottleneck& u) {
  Shape s{};
  s.N = u.x.size(0), s.channels = u.x.size(1), s.H = u.x.size(2), s.W = u.x.size(3);
  s.first = u.first, s.width = s.channels - u.first;
  s.hidden = u.expand.size(0), s.out = u.project.defined() ? u.project.size(0) : 0;
  const bool pools = !u.displacement.defined() && !u.depthwise.defined();
  s.stride = pools ? 2 : u.stride;
  const int64_t up = pools ? 0 : s.stride - 1;
  s.H_out = (s.H + up) / s.stride, s.W_out = (s.W + up) / s.stride;
  return s;
}

void check(const Bottleneck& u) {
  TORCH_CHECK(u.x.dim() == 4 && u.x.scalar_type() == at::kFloat && u.x.device().is_cpu() && u.x.numel() > 0,
              "bottleneck: x must be [N,C,H,W] float32 on the CPU");
  const Shape s = shape_of(u);
  TORCH_CHECK(u.first >= 0 && s.width > 0, "bottleneck: first must be a channel of x");
  TORCH_CHECK(u.expand.numel() == s.hidden * s.width &&
                  (!u.project.defined() || u.project.numel() == s.out * s.hidden),
              "bottleneck: the weights' shapes do not fit");
  TORCH_CHECK(!u.depthwise.defined() || u.depthwise.sizes() == at::IntArrayRef({s.hidden, 1, 3, 3}),
              "bottleneck: the depthwise weight must be [hidden,1,3,3]");
  TORCH_CHECK(!u.scale.defined() || u.scale.sizes() == at::IntArrayRef({s.N, s.hidden}),
              "bottleneck: scale must be [N,hidden]");
  TORCH_CHECK(s.stride == 1 || s.stride == 2, "bottleneck: stride must be 1 or 2, but is ", u.stride);
  TORCH_CHECK(s.H_out > 0 && s.W_out > 0, "bottleneck: the map is too small for a pool");
  TORCH_CHECK(!u.residual || (s.out == s.width && s.stride == 1), "bottleneck: a residual changes no shape");
  TORCH_CHECK(u.first == 0 || u.residual || !u.project.defined(),
              "bottleneck: channels pass beside a residual alone");
}

void start(const Bottleneck& u, const Tensor& x, const Tensor& expand, const Tensor& gamma,
           const Tensor& beta, const Tensor& spatial, Expand& e) {
  Work& work = e.work;
  const Shape s = work.shape = shape_of(u);
  const bool batch = !u.mean1.defined();
  place_taps(u, batch && spatial.defined() && spatial.requires_grad(), work);
  work.x = x.const_data_ptr<float>();
  work.operands = u.operands;
  const Tensor W = expand.detach().contiguous();
  std::vector<double> mean(s.width, 0.0);
  e.pixels = static_cast<double>(s.N * s.H * s.W);
  if (batch) {
    std::vector<double> covariance;
    input_moments(work, mean, covariance);
    merge_covariance(mean, covariance, e.pixels);
    e.statistics = statistics(W.const_data_ptr<float>(), s.hidden, mean, covariance);
    e.mean = doubles(e.statistics.mean, {s.hidden}), e.variance = doubles(e.statistics.variance, {s.hidden});
  } else {
    e.mean = wide(u.mean1), e.variance = wide(u.variance1);
  }
  e.r = (e.variance + u.eps1).rsqrt();
  const Tensor scale = wide(gamma) * e.r;
  work.centre = {mean.begin(), mean.end()};
  e.off.resize(s.width);
  for (int64_t k = 0; k < s.width; ++k) e.off[k] = work.centre[k] - mean[k];
  const Tensor scaled = wide(W).flatten(1) * scale.unsqueeze(1);
  work.expand = floats(scaled);
  work.bias = floats(batch ? wide(beta) + scaled.mv(doubles(e.off, {s.width})) : wide(beta) - scale * e.mean);
}

ExpandTensors finish(Expand& e, const Gradients& g, const Tensor& weight, const Tensor& gamma,
                     const Tensor& spatial, const float* dz, float* dx) {
  const Work& work = e.work;
  const Shape& s = work.shape;
  const Tensor gammas = wide(gamma);
  const ExpandGradients d =
      expand_gradients(e.statistics, e.r.const_data_ptr<double>(), gammas.const_data_ptr<double>(), e.off,
                       g.expand, g.sums, e.pixels);
  if (dx) finish_gradient(work, d.correction, dz, dx);
  ExpandTensors t{floats(d.dW, weight.sizes()),
                  floats(d.dgamma, {s.hidden}),
                  doubles(g.sums, {s.hidden}).to(at::kFloat),
                  {}};
  if (work.corner_count == 9) {
    t.spatial = doubles(g.corners, {9, s.hidden}).t().reshape(spatial.sizes()).to(at::kFloat);
  } else if (work.corner_count > 0) {
    const Tensor u = wide(spatial);
    const Tensor du = at::empty_like(u);
    displacement_gradient(g.corners, 1, s.hidden, u.const_data_ptr<double>(), du.mutable_data_ptr<double>());
    t.spatial = du.to(spatial.scalar_type());
  }
  return t;
}

}  // namespace fewshift::bottleneck
