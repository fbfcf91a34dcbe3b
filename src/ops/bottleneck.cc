// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "kernels/kernels.h"
#include "ops/batch_norm_sums.h"
#include "ops/bottleneck_expand.h"

namespace fewshift {
namespace {

using at::Tensor;
using namespace bottleneck;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

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
struct Saved : Expand {
  bool residual = false;
  Tensor mean2, r2;    // of the project, and 1 / sigma
  double pixels2 = 0;  // behind mean2
};

// Below so many channels read, making the hidden activation again takes less time than writing and reading
// it.
constexpr int64_t kKeptWidth = 64;

Tensor keep_hidden(Bottleneck::Hidden hidden, Work& work) {
  using Hidden = Bottleneck::Hidden;
  if (work.shape.stride != 1 || hidden == Hidden::kRecompute) return {};
  if (hidden == Hidden::kAuto && work.shape.width < kKeptWidth) return {};
  work.keeps_bf16 = hidden == Hidden::kBf16 || work.bf16();
  Tensor kept = at::empty({bottleneck::kept_values(work)}, work.keeps_bf16 ? at::kBFloat16 : at::kFloat);
  work.kept = kept.mutable_data_ptr();
  return kept;
}

struct Function : torch::autograd::Function<Function> {
  static tensor_list forward(AutogradContext* context, const Bottleneck& u, const Tensor& x,
                             const Tensor& expand, const Tensor& gamma1, const Tensor& beta1,
                             const std::optional<Tensor>& spatial, const std::optional<Tensor>& scale,
                             const Tensor& project, const Tensor& gamma2, const Tensor& beta2) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool batch = !u.mean1.defined();
    auto saved = c10::make_intrusive<Saved>();
    Work& work = saved->work;
    const Tensor map = x.contiguous(), scales = scale ? scale->contiguous() : Tensor();
    start(u, map, expand, gamma1, beta1, spatial.value_or(Tensor()), *saved);
    const Shape& s = work.shape;
    work.measures = batch && u.removal_cost.defined();
    work.project = floats(project.detach());
    if (scales.defined()) work.scale = scales.const_data_ptr<float>();

    const Tensor kept = batch ? keep_hidden(u.hidden, work) : Tensor();
    const Tensor y = at::empty({s.N, s.out, s.H_out, s.W_out}, map.options(), at::MemoryFormat::Contiguous);
    const auto moments = bottleneck::forward(work, y.mutable_data_ptr<float>());
    Tensor mean2 = at::empty({s.out}, at::kDouble), variance2 = at::empty({s.out}, at::kDouble);
    for (int64_t o = 0; o < s.out; ++o) {
      mean2.mutable_data_ptr<double>()[o] = moments[o].mean;
      variance2.mutable_data_ptr<double>()[o] = std::max(0.0, moments[o].squares / moments[o].count);
    }
    saved->pixels2 = static_cast<double>(s.N * s.H_out * s.W_out);
    if (batch) {
      merge_moments(mean2, variance2, saved->pixels2);
    } else {
      mean2 = wide(u.mean2), variance2 = wide(u.variance2);
    }
    saved->r2 = (variance2 + u.eps2).rsqrt();
    const Tensor scale2 = wide(gamma2) * saved->r2;
    const Tensor z = batch         ? at::empty({s.N, s.first + s.out, s.H_out, s.W_out}, map.options(),
                                               at::MemoryFormat::Contiguous)
                     : s.first > 0 ? at::empty_like(map)
                                   : y;
    normalise(s, work.x, y.const_data_ptr<float>(), floats(scale2), floats(wide(beta2) - mean2 * scale2),
              u.residual, z.mutable_data_ptr<float>());

    const tensor_list statistics{saved->mean.to(at::kFloat), saved->variance.to(at::kFloat),
                                 mean2.to(at::kFloat), variance2.to(at::kFloat),
                                 at::tensor({saved->pixels, saved->pixels2}, at::kDouble)};
    if (batch) {
      work.x = nullptr, work.scale = nullptr, work.kept = nullptr;
      saved->residual = u.residual, saved->mean2 = mean2;
      context->save_for_backward({map, y, expand, gamma1, project, gamma2, spatial.value_or(Tensor()),
                                  u.removal_cost, kept, scales});
      context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    }
    context->mark_non_differentiable(statistics);
    return {z, statistics[0], statistics[1], statistics[2], statistics[3], statistics[4]};
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto tensors = context->get_saved_variables();
    const Tensor &x = tensors[0], &y = tensors[1];
    Saved& saved = static_cast<Saved&>(*context->saved_data["saved"].toCapsule());
    Work& work = saved.work;
    const Shape& s = work.shape;
    work.x = x.const_data_ptr<float>();
    if (tensors[8].defined()) work.kept = tensors[8].mutable_data_ptr();
    if (tensors[9].defined()) work.scale = tensors[9].const_data_ptr<float>();
    const Tensor dz_map = grads[0].contiguous();
    const float* const dz = dz_map.const_data_ptr<float>();

    // dy = gamma2 / sigma2 * (dz - dbeta2 / P - xhat dgamma2 / P), the sums those of all processes
    const Tensor &mean2 = saved.mean2, &r2 = saved.r2;
    const auto [dbeta2, products] = sums_of(s, dz, y.const_data_ptr<float>(), mean2);
    const Tensor dgamma2 = products * r2;
    Tensor sums = at::cat({dgamma2, dbeta2});
    add_up_sums(sums);
    const Tensor a = wide(tensors[5]) * r2, b = -a * r2 * sums.slice(0, 0, s.out) / saved.pixels2,
                 c = -a * sums.slice(0, s.out) / saved.pixels2;

    Tensor dx = at::empty_like(x);
    const Gradients g = bottleneck::backward(work, dz, y.const_data_ptr<float>(),
                                             {floats(a), floats(b), floats(mean2), floats(c)}, saved.residual,
                                             dx.mutable_data_ptr<float>());

    const ExpandTensors e = finish(saved, g, tensors[2], tensors[3], tensors[6], dz,
                                   context->needs_input_grad(1) ? dx.mutable_data_ptr<float>() : nullptr);
    if (work.measures) tensors[7].add_(doubles(g.removal, {s.hidden}));
    return {Tensor(),
            dx,
            e.weight,
            e.gamma,
            e.beta,
            e.spatial,
            work.scale ? floats(g.scale, {s.N, s.hidden}) : Tensor(),
            floats(g.project, tensors[4].sizes()),
            dgamma2.to(at::kFloat),
            dbeta2.to(at::kFloat)};
  }
};

// The mean of each image's hidden channels, behind the spatial operator.
struct Mean : torch::autograd::Function<Mean> {
  static Tensor forward(AutogradContext* context, const Bottleneck& u, const Tensor& x, const Tensor& expand,
                        const Tensor& gamma, const Tensor& beta, const std::optional<Tensor>& spatial) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto saved = c10::make_intrusive<Expand>();
    const Tensor map = x.contiguous();
    start(u, map, expand, gamma, beta, spatial.value_or(Tensor()), *saved);
    Work& work = saved->work;
    const Tensor means = at::empty({work.shape.N, work.shape.hidden}, map.options());
    pool(work, means.mutable_data_ptr<float>());
    if (!u.mean1.defined()) {
      work.x = nullptr;
      context->save_for_backward({map, expand, gamma, spatial.value_or(Tensor())});
      context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    }
    return means;
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto tensors = context->get_saved_variables();
    Expand& saved = static_cast<Expand&>(*context->saved_data["saved"].toCapsule());
    saved.work.x = tensors[0].const_data_ptr<float>();
    const Tensor dmeans = grads[0].contiguous();
    Tensor dx = at::empty_like(tensors[0]);
    const Gradients g = unpool(saved.work, dmeans.const_data_ptr<float>(), dx.mutable_data_ptr<float>());
    const ExpandTensors e = finish(saved, g, tensors[1], tensors[2], tensors[3], nullptr,
                                   context->needs_input_grad(1) ? dx.mutable_data_ptr<float>() : nullptr);
    return {Tensor(), dx, e.weight, e.gamma, e.beta, e.spatial};
  }
};

std::optional<Tensor> some(const Tensor& t) {
  return t.defined() ? std::optional(t) : std::nullopt;
}

}  // namespace

BottleneckResult fused_bottleneck(const Bottleneck& unit) {
  check(unit);
  const tensor_list r =
      Function::apply(unit, unit.x, unit.expand, unit.gamma1, unit.beta1, some(spatial_of(unit)),
                      some(unit.scale), unit.project, unit.gamma2, unit.beta2);
  const double* const counts = r[5].const_data_ptr<double>();
  return {r[0], r[1], r[2], r[3], r[4], counts[0], counts[1]};
}

Tensor pooled_hidden(const Bottleneck& unit) {
  Bottleneck u = unit;
  u.project = Tensor(), u.residual = false, u.scale = Tensor();
  check(u);
  return Mean::apply(u, u.x, u.expand, u.gamma1, u.beta1, some(spatial_of(u)));
}

bool has_fused_bottleneck() {
  static const bool has = kernels().isa == std::string("avx512") || kernels().isa == std::string("avx2");
  return has;
}

PlanarOperands bf16_operands() {
  return kernels().planar_pairs ? PlanarOperands::kPairs : PlanarOperands::kBf16;
}

}  // namespace fewshift
