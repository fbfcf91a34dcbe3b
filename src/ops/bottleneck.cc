// With X the input less its mean, S its covariance, w a row of the expand's weight, s = gamma / sigma and
// sigma^2 = w' S w + eps:   hidden = relu(X (w s) + beta).   Backward, dA the gradient before the ReLU, r its
// sum, G = X' dA, P the number of pixels:
//   dbeta = r    dgamma = w' G / sigma    dw = s (G - S w dgamma / sigma)
//   dX = dA (w s)' - X B - sum of (s r / P) w,   B = sum of s dgamma / (P sigma) w w'
// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cstring>

#include "kernels/kernels.h"
#include "ops/bottleneck_algebra.h"
#include "ops/bottleneck_pass.h"
#include "ops/shift_geometry.h"

namespace fewshift {
namespace {

using at::Tensor;
using bottleneck::Shape;
using bottleneck::Tap;
using bottleneck::Taps;
using bottleneck::Work;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

Tensor wide(const Tensor& t) {
  return t.detach().to(at::kDouble).contiguous();
}
std::vector<float> floats(const Tensor& t) {
  const Tensor f = t.to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}
Tensor floats(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kFloat).view(shape);
}
Tensor doubles(const std::vector<double>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kDouble).view(shape);
}

Shape shape_of(const Bottleneck& u) {
  Shape s{};
  s.N = u.x.size(0), s.channels = u.x.size(1), s.H = u.x.size(2), s.W = u.x.size(3);
  s.first = u.first, s.width = s.channels - u.first;
  s.hidden = u.expand.size(0), s.out = u.project.size(0);
  const bool pools = !u.displacement.defined() && !u.depthwise.defined();
  s.stride = pools ? 2 : u.stride;
  const int64_t up = pools ? 0 : s.stride - 1;
  s.H_out = (s.H + up) / s.stride, s.W_out = (s.W + up) / s.stride;
  return s;
}

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

// out = a[c] * y + b[c] (+ x), plane by plane; channels before `first` are x's.
void normalise(const Shape& s, const float* x, const float* y, const std::vector<float>& a,
               const std::vector<float>& b, bool residual, float* out) {
  const int64_t pixels = s.H_out * s.W_out, channels = s.first + s.out;
  at::parallel_for(0, s.N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (s.first > 0)
        std::memcpy(out + n * channels * pixels, x + n * s.channels * pixels,
                    s.first * pixels * sizeof(float));
      for (int64_t o = 0; o < s.out; ++o) {
        const float* const from = y + (n * s.out + o) * pixels;
        float* const to = out + (n * channels + s.first + o) * pixels;
        if (residual) {
          combine(from, x + (n * s.channels + s.first + o) * pixels, pixels, a[o], 1.0f, b[o], to);
        } else {
          combine(from, pixels, a[o], b[o], to);
        }
      }
    }
  });
}

// Sums over all pixels of dz and dz * (y - mean): [out] each.
std::pair<Tensor, Tensor> sums_of(const Shape& s, const float* dz, const float* y, const Tensor& mean) {
  const int64_t pixels = s.H_out * s.W_out, channels = s.first + s.out;
  const std::vector<float> centre = floats(mean);
  std::vector<double> sums(s.N * s.out), products(s.N * s.out);
  at::parallel_for(0, s.N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t o = 0; o < s.out; ++o)
        add_products(dz + (n * channels + s.first + o) * pixels, y + (n * s.out + o) * pixels, pixels,
                     centre[o], sums[n * s.out + o], products[n * s.out + o]);
    }
  });
  return {doubles(sums, {s.N, s.out}).sum(0), doubles(products, {s.N, s.out}).sum(0)};
}

// What the backward pass must know beside the tensors of the graph; all in double.
struct Saved : torch::CustomClassHolder {
  Work work;
  bool residual = false;
  bottleneck::Statistics expand;
  Tensor r1;         // 1 / sigma of the expand
  Tensor mean2, r2;  // of the project, and 1 / sigma
};

// Below so many channels read, making the hidden activation again takes less time than writing and reading
// it.
constexpr int64_t kKeptWidth = 64;

Tensor keep_hidden(Bottleneck::Hidden hidden, Work& work) {
  using Hidden = Bottleneck::Hidden;
  if (work.shape.stride != 1 || hidden == Hidden::kRecompute) return {};
  if (hidden == Hidden::kAuto && work.shape.width < kKeptWidth) return {};
  work.bf16 = hidden == Hidden::kBf16;
  Tensor kept = at::empty({bottleneck::kept_values(work)}, work.bf16 ? at::kBFloat16 : at::kFloat);
  work.kept = kept.mutable_data_ptr();
  return kept;
}

struct Function : torch::autograd::Function<Function> {
  static tensor_list forward(AutogradContext* context, const Bottleneck& u, const Tensor& x,
                             const Tensor& expand, const Tensor& gamma1, const Tensor& beta1,
                             const std::optional<Tensor>& spatial, const Tensor& project,
                             const Tensor& gamma2, const Tensor& beta2) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Shape s = shape_of(u);
    const bool batch = !u.mean1.defined();
    auto saved = c10::make_intrusive<Saved>();
    Work& work = saved->work;
    work.shape = s;
    place_taps(u, batch && spatial && spatial->requires_grad(), work);
    work.measures = batch && u.removal_cost.defined();
    const Tensor map = x.contiguous(), W = expand.detach().contiguous();
    work.x = map.const_data_ptr<float>();

    std::vector<double> mean(s.width, 0.0);
    Tensor mean1, variance1;
    if (batch) {
      std::vector<double> covariance;
      bottleneck::input_moments(work, mean, covariance);
      saved->expand = bottleneck::statistics(W.const_data_ptr<float>(), s.hidden, mean, covariance);
      mean1 = doubles(saved->expand.mean, {s.hidden});
      variance1 = doubles(saved->expand.variance, {s.hidden});
    } else {
      mean1 = wide(u.mean1), variance1 = wide(u.variance1);
    }
    saved->r1 = (variance1 + u.eps1).rsqrt();
    const Tensor scale = wide(gamma1) * saved->r1;
    work.centre = {mean.begin(), mean.end()};
    work.expand = floats(W.flatten(1) * scale.unsqueeze(1));
    work.bias = floats(batch ? wide(beta1) : wide(beta1) - scale * mean1);
    work.project = floats(project.detach());

    const Tensor kept = batch ? keep_hidden(u.hidden, work) : Tensor();
    const Tensor y = at::empty({s.N, s.out, s.H_out, s.W_out}, map.options(), at::MemoryFormat::Contiguous);
    const auto moments = bottleneck::forward(work, y.mutable_data_ptr<float>());
    Tensor mean2 = at::empty({s.out}, at::kDouble), variance2 = at::empty({s.out}, at::kDouble);
    for (int64_t o = 0; o < s.out; ++o) {
      mean2.mutable_data_ptr<double>()[o] = moments[o].mean;
      variance2.mutable_data_ptr<double>()[o] = std::max(0.0, moments[o].squares / moments[o].count);
    }
    if (!batch) mean2 = wide(u.mean2), variance2 = wide(u.variance2);
    saved->r2 = (variance2 + u.eps2).rsqrt();
    const Tensor scale2 = wide(gamma2) * saved->r2;
    const Tensor z = batch         ? at::empty({s.N, s.first + s.out, s.H_out, s.W_out}, map.options(),
                                               at::MemoryFormat::Contiguous)
                     : s.first > 0 ? at::empty_like(map)
                                   : y;
    normalise(s, work.x, y.const_data_ptr<float>(), floats(scale2), floats(wide(beta2) - mean2 * scale2),
              u.residual, z.mutable_data_ptr<float>());

    const tensor_list statistics{mean1.to(at::kFloat), variance1.to(at::kFloat), mean2.to(at::kFloat),
                                 variance2.to(at::kFloat)};
    if (batch) {
      work.x = nullptr, work.kept = nullptr;
      saved->residual = u.residual, saved->mean2 = mean2;
      context->save_for_backward(
          {map, y, expand, gamma1, project, gamma2, spatial.value_or(Tensor()), u.removal_cost, kept});
      context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    }
    context->mark_non_differentiable(statistics);
    return {z, statistics[0], statistics[1], statistics[2], statistics[3]};
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto tensors = context->get_saved_variables();
    const Tensor &x = tensors[0], &y = tensors[1], &spatial = tensors[6];
    Saved& saved = static_cast<Saved&>(*context->saved_data["saved"].toCapsule());
    Work& work = saved.work;
    const Shape& s = work.shape;
    work.x = x.const_data_ptr<float>();
    if (tensors[8].defined()) work.kept = tensors[8].mutable_data_ptr();
    const Tensor dz_map = grads[0].contiguous();
    const float* const dz = dz_map.const_data_ptr<float>();

    // dy = gamma2 / sigma2 * (dz - dbeta2 / P - xhat dgamma2 / P)
    const double P_out = static_cast<double>(s.N * s.H_out * s.W_out);
    const Tensor &mean2 = saved.mean2, &r1 = saved.r1, &r2 = saved.r2;
    const auto [dbeta2, products] = sums_of(s, dz, y.const_data_ptr<float>(), mean2);
    const Tensor dgamma2 = products * r2;
    const Tensor a = wide(tensors[5]) * r2, b = -a * r2 * dgamma2 / P_out, c = -a * dbeta2 / P_out;

    Tensor dx = at::empty_like(x);
    const bottleneck::Gradients g = bottleneck::backward(work, dz, y.const_data_ptr<float>(),
                                                         {floats(a), floats(b), floats(mean2), floats(c)},
                                                         saved.residual, dx.mutable_data_ptr<float>());

    const Tensor gamma1 = wide(tensors[3]);
    bottleneck::ExpandGradients e = bottleneck::expand_gradients(
        saved.expand, r1.const_data_ptr<double>(), gamma1.const_data_ptr<double>(), g.expand, g.sums,
        static_cast<double>(s.N * s.H * s.W));
    if (context->needs_input_grad(1))
      bottleneck::finish_gradient(work, e.correction, dz, dx.mutable_data_ptr<float>());
    Tensor du;
    if (work.corner_count == 9) {
      du = doubles(g.corners, {9, s.hidden}).t().reshape(spatial.sizes()).to(at::kFloat);
    } else if (work.corner_count > 0) {
      const Tensor u = wide(spatial);
      Tensor d = at::empty_like(u);
      displacement_gradient(g.corners, 1, s.hidden, u.const_data_ptr<double>(), d.mutable_data_ptr<double>());
      du = d.to(spatial.scalar_type());
    }
    if (work.measures) tensors[7].add_(doubles(g.removal, {s.hidden}));
    return {Tensor(),
            dx,
            floats(e.dW, tensors[2].sizes()),
            floats(e.dgamma, {s.hidden}),
            doubles(g.sums, {s.hidden}).to(at::kFloat),
            du,
            floats(g.project, tensors[4].sizes()),
            dgamma2.to(at::kFloat),
            dbeta2.to(at::kFloat)};
  }
};

void check(const Bottleneck& u) {
  TORCH_CHECK(u.x.dim() == 4 && u.x.scalar_type() == at::kFloat && u.x.device().is_cpu() && u.x.numel() > 0,
              "bottleneck: x must be [N,C,H,W] float32 on the CPU");
  const Shape s = shape_of(u);
  TORCH_CHECK(u.first >= 0 && s.width > 0, "bottleneck: first must be a channel of x");
  TORCH_CHECK(u.expand.numel() == s.hidden * s.width && u.project.numel() == s.out * s.hidden,
              "bottleneck: the weights' shapes do not fit");
  TORCH_CHECK(!u.depthwise.defined() || u.depthwise.sizes() == at::IntArrayRef({s.hidden, 1, 3, 3}),
              "bottleneck: the depthwise weight must be [hidden,1,3,3]");
  TORCH_CHECK(s.stride == 1 || s.stride == 2, "bottleneck: stride must be 1 or 2, but is ", u.stride);
  TORCH_CHECK(s.H_out > 0 && s.W_out > 0, "bottleneck: the map is too small for a pool");
  TORCH_CHECK(!u.residual || (s.out == s.width && s.stride == 1), "bottleneck: a residual changes no shape");
  TORCH_CHECK(u.first == 0 || u.residual, "bottleneck: channels pass beside a residual alone");
}

}  // namespace

BottleneckResult fused_bottleneck(const Bottleneck& unit) {
  check(unit);
  const Tensor& spatial = unit.depthwise.defined() ? unit.depthwise : unit.displacement;
  const tensor_list r = Function::apply(unit, unit.x, unit.expand, unit.gamma1, unit.beta1,
                                        spatial.defined() ? std::optional(spatial) : std::nullopt,
                                        unit.project, unit.gamma2, unit.beta2);
  return {r[0], r[1], r[2], r[3], r[4]};
}

bool has_fused_bottleneck() {
  static const bool has = kernels().isa == std::string("avx512") || kernels().isa == std::string("avx2");
  return has;
}

}  // namespace fewshift
