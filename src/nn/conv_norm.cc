// SPDX-License-Identifier: Apache-2.0
#include "nn/conv_norm.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "ops/batch_norm_sums.h"
#include "ops/norm_relu_shift.h"
#include "ops/sync_batch_norm.h"

namespace fewshift {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

bool g_fused = true;
Bottleneck::Hidden g_hidden = Bottleneck::Hidden::kAuto;
bool g_bf16_products = false;

bool fusable(const Tensor& h, Activation activation) {
  const bool relu = activation == Activation::kRelu || activation == Activation::kRelu6;
  return g_fused && relu && h.scalar_type() == torch::kFloat && h.device().is_cpu() &&
         h.is_contiguous(at::MemoryFormat::ChannelsLast);
}

bool fusable(const ShiftLayer& shift) {
  return shift && !shift->removal_cost.defined() && !shift->interpolated;
}

Tensor norm_relu_shift(nn::BatchNorm2dImpl& norm, const Tensor& h, const ShiftLayer& shift,
                       Activation activation) {
  Tensor mean = norm.running_mean, variance = norm.running_var;
  double count = static_cast<double>(h.numel() / h.size(1));
  if (norm.is_training()) {
    torch::NoGradGuard no_grad;
    std::tie(mean, variance) = channel_moments(h);
    merge_moments(mean, variance, count);
    track_moments(norm, mean, variance, count);
  }
  return fewshift::norm_relu_shift(
      h, norm.weight, norm.bias, mean, variance, norm.is_training(), norm.options.eps(),
      shift ? shift->displacement : Tensor(), shift ? shift->stride : 1,
      activation == Activation::kRelu6 ? 6 : std::numeric_limits<double>::infinity(), count);
}

}  // namespace

bool set_fused(bool fused) {
  g_fused = fused;
  return fused && has_fused_bottleneck();
}
bool is_fused() {
  return g_fused;
}

void set_hidden(const std::string& name) {
  const auto at = std::find(kHiddenNames.begin(), kHiddenNames.end(), name);
  if (at == kHiddenNames.end())
    throw Error(ErrorCode::kInvalidArgument, "--hidden", "must be auto, recompute, float32 or bf16");
  g_hidden = static_cast<Bottleneck::Hidden>(at - kHiddenNames.begin());
}
Bottleneck::Hidden hidden(int64_t width) {
  constexpr int64_t kNarrow = 16;
  const bool again = g_hidden == Bottleneck::Hidden::kBf16 && width < kNarrow;
  return again ? Bottleneck::Hidden::kRecompute : g_hidden;
}

void set_bf16_products(bool bf16) {
  g_bf16_products = bf16;
}
bool bf16_products() {
  return g_bf16_products;
}

void track_moments(nn::BatchNorm2dImpl& norm, const Tensor& mean, const Tensor& variance, double pixels) {
  torch::NoGradGuard no_grad;
  const double momentum = *norm.options.momentum();
  norm.num_batches_tracked.add_(1);
  norm.running_mean.lerp_(mean, momentum);
  norm.running_var.lerp_(variance * (pixels / std::max(1.0, pixels - 1)), momentum);
}

Tensor normalise(nn::BatchNorm2dImpl& norm, const Tensor& x) {
  if (!norm.is_training() || !has_batch_norm_sums()) return norm.forward(x);
  const NormResult r = sync_batch_norm(x, norm.weight, norm.bias, norm.options.eps());
  track_moments(norm, r.mean, r.variance, r.count);
  return r.y;
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return torch::relu(x);
    case Activation::kRelu6:
      return torch::clamp(x, 0, 6);
    case Activation::kGelu:
      return torch::gelu(x);
  }
  return x;
}

ConvNormImpl::ConvNormImpl(const ConvBn& unit) : activation(unit.activation) {
  conv = register_module("conv", nn::Conv2d(nn::Conv2dOptions(unit.in, unit.out, unit.kernel)
                                                .stride(unit.stride)
                                                .padding(unit.pad())
                                                .groups(unit.groups)
                                                .bias(false)));
  norm = register_module("norm", nn::BatchNorm2d(unit.out));
}

Tensor ConvNormImpl::forward_shift(const Tensor& x, const ShiftLayer& shift) {
  const Tensor h = conv(x);
  if (fusable(h, activation) && fusable(shift)) return norm_relu_shift(*norm, h, shift, activation);
  const Tensor z = fusable(h, activation) ? norm_relu_shift(*norm, h, nullptr, activation)
                                          : activate(normalise(*norm, h), activation);
  return shift ? ShiftLayer(shift)->forward(z) : z;
}

}  // namespace fewshift
