// SPDX-License-Identifier: Apache-2.0
#include "nn/units.h"

#include "ops/norm_relu_shift.h"

namespace fewshift {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

bool g_fused = true;

Tensor norm_relu_shift(nn::BatchNorm2dImpl& norm, const Tensor& h, const SparseShift& shift) {
  const bool measured = shift && shift->removal_cost.defined();
  if (!g_fused || measured || h.scalar_type() != torch::kFloat || !h.device().is_cpu() ||
      !h.is_contiguous(at::MemoryFormat::ChannelsLast)) {
    const Tensor z = torch::relu(norm.forward(h));
    return shift ? SparseShift(shift)->forward(z) : z;
  }
  Tensor mean = norm.running_mean, variance = norm.running_var;
  if (norm.is_training()) {
    torch::NoGradGuard no_grad;
    std::tie(mean, variance) = channel_moments(h);
    const double momentum = *norm.options.momentum(), pixels = h.numel() / h.size(1);
    norm.num_batches_tracked.add_(1);
    norm.running_mean.lerp_(mean, momentum);
    norm.running_var.lerp_(variance * (pixels / std::max(1.0, pixels - 1)), momentum);
  }
  return fewshift::norm_relu_shift(h, norm.weight, norm.bias, mean, variance, norm.is_training(),
                                   norm.options.eps(), shift ? shift->displacement : Tensor(),
                                   shift ? shift->stride : 1);
}

struct ConvUnit : UnitModule {
  explicit ConvUnit(const ConvBn& unit) : relu(unit.relu) {
    body = ConvNorm(unit.in, unit.out, unit.kernel, unit.stride);
    // Its parameters stand directly below the unit's name: stem.conv.weight.
    register_module("conv", body->conv);
    register_module("norm", body->norm);
  }
  Tensor forward(const Tensor& x) override { return relu ? body->forward_relu_shift(x) : body->forward(x); }

  ConvNorm body{nullptr};
  bool relu;
};

struct BottleneckUnit : UnitModule {
  explicit BottleneckUnit(const InvertedBottleneck& unit_) : unit(unit_) {
    const int out = unit.first > 0 ? unit.width() : unit.out;
    const int stride = unit.spatial == Spatial::kStridedShift ? 2 : 1;
    expand = register_module("expand", ConvNorm(unit.width(), unit.hidden, 1, 1));
    if (unit.spatial != Spatial::kPool) move = register_module("shift", SparseShift(unit.hidden, stride));
    if (unit.squeeze > 0) squeeze = register_module("squeeze", SqueezeExcite(unit.hidden, unit.squeeze));
    project = register_module("project", ConvNorm(unit.hidden, out, 1, 1));
    if (unit.shortcut == Shortcut::kProjection) {
      shortcut = register_module("shortcut", ConvNorm(unit.width(), out, 1, stride));
    }
  }

  Tensor forward(const Tensor& x) override {
    if (unit.first == 0) return residual(x);
    const Tensor moved = residual(x.slice(1, unit.first).contiguous(at::MemoryFormat::ChannelsLast));
    return torch::cat({x.slice(1, 0, unit.first), moved}, 1).contiguous(at::MemoryFormat::ChannelsLast);
  }

  SparseShift shift() const override { return move; }

  Tensor residual(const Tensor& x) {
    Tensor h = expand->forward_relu_shift(x, move);
    if (unit.spatial == Spatial::kPool && std::min(h.size(2), h.size(3)) > 1) h = torch::avg_pool2d(h, 2);
    if (squeeze) h = squeeze->forward(h);
    const Tensor y = project->forward(h);
    switch (unit.shortcut) {
      case Shortcut::kNone:
        return y;
      case Shortcut::kIdentity:
        return x + y;
      case Shortcut::kProjection:
        return shortcut->forward(x) + y;
    }
    return y;
  }

  InvertedBottleneck unit;
  ConvNorm expand{nullptr}, project{nullptr}, shortcut{nullptr};
  SparseShift move{nullptr};
  SqueezeExcite squeeze{nullptr};
};

struct ClassifierUnit : UnitModule {
  explicit ClassifierUnit(const Classifier& unit) {
    if (unit.head > 0) head = register_module("head", ConvNorm(unit.in, unit.head, 1, 1));
    dropout = register_module("dropout", nn::Dropout(unit.dropout));
    linear = register_module("linear", nn::Linear(unit.head > 0 ? unit.head : unit.in, unit.classes));
  }
  Tensor forward(const Tensor& x) override {
    const Tensor z = head ? head->forward_relu_shift(x) : torch::relu(x);
    return linear(dropout(z.mean({2, 3})));
  }

  ConvNorm head{nullptr};
  nn::Dropout dropout{nullptr};
  nn::Linear linear{nullptr};
};

}  // namespace

void set_fused(bool fused) {
  g_fused = fused;
}

ConvNormImpl::ConvNormImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  conv = register_module(
      "conv", nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false)));
  norm = register_module("norm", nn::BatchNorm2d(out));
}

Tensor ConvNormImpl::forward(const Tensor& x) {
  return norm(conv(x));
}

Tensor ConvNormImpl::forward_relu_shift(const Tensor& x, const SparseShift& shift) {
  return norm_relu_shift(*norm, conv(x), shift);
}

SqueezeExciteImpl::SqueezeExciteImpl(int64_t channels, int64_t reduction) {
  reduce = register_module("reduce", nn::Conv2d(nn::Conv2dOptions(channels, channels / reduction, 1)));
  expand = register_module("expand", nn::Conv2d(nn::Conv2dOptions(channels / reduction, channels, 1)));
}

Tensor SqueezeExciteImpl::forward(const Tensor& x) {
  return x * torch::sigmoid(expand(torch::relu(reduce(x.mean({2, 3}, true)))));
}

std::shared_ptr<UnitModule> make_unit(const Unit& unit) {
  struct Visitor {
    std::shared_ptr<UnitModule> operator()(const ConvBn& u) { return std::make_shared<ConvUnit>(u); }
    std::shared_ptr<UnitModule> operator()(const InvertedBottleneck& u) {
      return std::make_shared<BottleneckUnit>(u);
    }
    std::shared_ptr<UnitModule> operator()(const Classifier& u) {
      return std::make_shared<ClassifierUnit>(u);
    }
  };
  return std::visit(Visitor{}, unit);
}

}  // namespace fewshift
