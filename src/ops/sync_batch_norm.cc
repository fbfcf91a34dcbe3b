// SPDX-License-Identifier: Apache-2.0
#include "ops/sync_batch_norm.h"

#include <torch/torch.h>

#include "ops/batch_norm_sums.h"

namespace fewshift {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

std::vector<int64_t> all_but_channels(const Tensor& x) {
  std::vector<int64_t> dims{0};
  for (int64_t d = 2; d < x.dim(); ++d) dims.push_back(d);
  return dims;
}

Tensor by_channel(const Tensor& v, const Tensor& x) {  // [C] against x
  std::vector<int64_t> shape(x.dim(), 1);
  shape[1] = v.numel();
  return v.to(at::kFloat).view(shape);
}

struct SyncBatchNorm : torch::autograd::Function<SyncBatchNorm> {
  static tensor_list forward(AutogradContext* context, const Tensor& x, const Tensor& gamma,
                             const Tensor& beta, double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Tensor wide = x.to(at::kFloat);
    auto [variance, mean] = at::var_mean(wide, all_but_channels(x), std::optional<at::Scalar>(0), false);
    double count = static_cast<double>(x.numel() / x.size(1));
    merge_moments(mean, variance, count);
    const Tensor r = (variance.to(at::kDouble) + eps).rsqrt(), scale = gamma * r;
    const Tensor y =
        at::addcmul(by_channel(beta - mean * scale, x), wide, by_channel(scale, x)).to(x.scalar_type());
    context->save_for_backward({x, gamma, mean, r});
    context->saved_data["count"] = count;
    const Tensor values = at::full({1}, count, at::kDouble);
    context->mark_non_differentiable({mean, variance, values});
    return {y, mean, variance, values};
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &gamma = saved[1], &mean = saved[2], &r = saved[3];
    const double count = context->saved_data["count"].toDouble();
    const Tensor dy = grads[0].to(at::kFloat), centred = x.to(at::kFloat) - by_channel(mean, x);
    const auto dims = all_but_channels(x);
    const Tensor dbeta = dy.sum(dims, false, at::kDouble),
                 dgamma = (dy * centred).sum(dims, false, at::kDouble) * r;
    Tensor sums = at::cat({dbeta, dgamma});
    add_up_sums(sums);
    const Tensor all_beta = sums.slice(0, 0, x.size(1)), all_gamma = sums.slice(0, x.size(1));
    // dx = gamma r (dy - dbeta / P - xhat dgamma / P)
    const Tensor a = gamma * r, b = -a * all_gamma * r / count, c = -a * all_beta / count;
    const Tensor dx = dy * by_channel(a, x) + centred * by_channel(b, x) + by_channel(c, x);
    return {dx.to(x.scalar_type()), dgamma.to(gamma.scalar_type()), dbeta.to(gamma.scalar_type()), Tensor()};
  }
};

}  // namespace

NormResult sync_batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  const tensor_list r = SyncBatchNorm::apply(x, gamma, beta, eps);
  return {r[0], r[1], r[2], r[3].item<double>()};
}

}  // namespace fewshift
