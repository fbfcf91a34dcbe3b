// SPDX-License-Identifier: Apache-2.0
#include "nn/shift_layer.h"

#include "ops/active_shift.h"
#include "ops/sparse_shift.h"

namespace fewshift {

ShiftLayerImpl::ShiftLayerImpl(int64_t channels, int64_t stride_, bool interpolated_)
    : displacement(register_parameter("displacement", torch::zeros({channels, 2}))),
      start(register_buffer("start", torch::zeros({channels, 2}))),
      stride(stride_),
      interpolated(interpolated_) {}

torch::Tensor ShiftLayerImpl::forward(const torch::Tensor& x) {
  const torch::Tensor y =
      interpolated ? active_shift(x, displacement, stride) : sparse_shift(x, displacement, stride);
  if (removal_cost.defined() && y.requires_grad()) {
    using torch::indexing::None;
    using torch::indexing::Slice;
    const torch::Tensor difference =
        x.detach().index({Slice(), Slice(), Slice(None, None, stride), Slice(None, None, stride)}) -
        y.detach();
    y.register_hook([difference, cost = removal_cost](const torch::Tensor& grad) {
      torch::NoGradGuard no_grad;
      cost.add_((grad * difference).sum({2, 3}).to(torch::kDouble).square().sum(0));
    });
  }
  return y;
}

torch::Tensor ShiftLayerImpl::shifts() const {
  return displacement.detach().round().to(torch::kLong);
}

torch::Tensor ShiftLayerImpl::penalty() const {
  return displacement.abs().sum();
}

}  // namespace fewshift
