// SPDX-License-Identifier: Apache-2.0
#include "nn/units.h"

#include <ATen/autocast_mode.h>

#include "nn/conv_norm.h"
#include "nn/dropout.h"
#include "nn/spatial.h"

namespace fewshift {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

ConvBn pointwise(int in, int out, Activation activation = Activation::kNone) {
  return {in, out, 1, 1, activation};
}

ConvBn depthwise(int channels, int kernel, int stride, Activation activation = Activation::kNone) {
  return {channels, channels, kernel, stride, activation, channels};
}

struct ConvUnit : UnitModule {
  explicit ConvUnit(const ConvBn& unit) : body(unit) {
    // Its parameters stand directly below the unit's name: stem.conv.weight.
    register_module("conv", body->conv);
    register_module("norm", body->norm);
  }
  Tensor forward(const Tensor& x) override { return body->forward(x); }

  ConvNorm body;
};

struct MaxPoolUnit : UnitModule {
  explicit MaxPoolUnit(const MaxPool& unit_) : unit(unit_) {}
  Tensor forward(const Tensor& x) override {
    return torch::max_pool2d(x, unit.kernel, unit.stride, unit.kernel / 2);
  }
  MaxPool unit;
};

// Squeeze-and-excitation: scales each channel by sigmoid(expand(relu(reduce(its mean)))).
struct SqueezeExciteImpl : nn::Module {
  SqueezeExciteImpl(int64_t channels, int64_t reduction) {
    reduce = register_module("reduce", nn::Conv2d(nn::Conv2dOptions(channels, channels / reduction, 1)));
    expand = register_module("expand", nn::Conv2d(nn::Conv2dOptions(channels / reduction, channels, 1)));
  }
  Tensor forward(const Tensor& x) { return x * scale(x.mean({2, 3}, true)); }
  Tensor scale(const Tensor& mean) { return torch::sigmoid(expand(torch::relu(reduce(mean)))); }  // [N,C,1,1]
  nn::Conv2d reduce{nullptr}, expand{nullptr};
};
TORCH_MODULE(SqueezeExcite);

struct BottleneckUnit : UnitModule {
  BottleneckUnit(const InvertedBottleneck& unit_, const std::string& shift) : unit(unit_) {
    const int out = unit.first > 0 ? unit.width() : unit.out;
    const int stride = unit.spatial == Spatial::kStridedShift ? 2 : 1;
    expand = register_module("expand", ConvNorm(pointwise(unit.width(), unit.hidden, Activation::kRelu)));
    if (unit.spatial != Spatial::kPool) {
      spatial = register_module(spatial_operator(shift).layer, make_spatial(shift, unit.hidden, stride));
      moving = ShiftLayer(std::dynamic_pointer_cast<ShiftLayerImpl>(spatial));
      depthwise_ = std::dynamic_pointer_cast<DepthwiseLayer>(spatial);
    }
    if (unit.squeeze > 0) squeeze = register_module("squeeze", SqueezeExcite(unit.hidden, unit.squeeze));
    project = register_module("project", ConvNorm(pointwise(unit.hidden, out)));
    if (unit.shortcut == Shortcut::kProjection) {
      shortcut = register_module("shortcut", ConvNorm(ConvBn{unit.width(), out, 1, stride}));
    }
  }

  Tensor forward(const Tensor& x) override {
    if (fusable(x)) return fused(x);
    if (unit.first == 0) return residual(x);
    const Tensor moved = residual(x.slice(1, unit.first).contiguous(at::MemoryFormat::ChannelsLast));
    return torch::cat({x.slice(1, 0, unit.first), moved}, 1).contiguous(at::MemoryFormat::ChannelsLast);
  }

  bool fuses() const override { return unit.spatial == Spatial::kPool || moving || depthwise_; }
  bool fusable(const Tensor& x) const {
    const bool map = x.scalar_type() == torch::kFloat && x.device().is_cpu() && x.numel() > 0;
    const bool pools = unit.spatial == Spatial::kPool && std::min(x.size(2), x.size(3)) > 1;
    const bool moves = moving && !(moving->interpolated && moving->removal_cost.defined());
    const bool trains = expand->norm->is_training() && project->norm->is_training();
    const bool runs =
        !expand->norm->is_training() && !project->norm->is_training() && !at::GradMode::is_enabled();
    return is_fused() && has_fused_bottleneck() && map && (pools || moves || depthwise_) &&
           (trains || runs) && !at::autocast::is_autocast_enabled(at::kCPU);
  }
  Tensor fused(const Tensor& x) {
    Bottleneck b;
    b.hidden = fewshift::hidden(unit.width());
    if (bf16_products() && expand->norm->is_training()) b.operands = bf16_operands();
    b.x = x, b.first = unit.first;
    b.expand = expand->conv->weight, b.project = project->conv->weight;
    nn::BatchNorm2d norms[] = {expand->norm, project->norm};
    b.gamma1 = norms[0]->weight, b.beta1 = norms[0]->bias, b.eps1 = norms[0]->options.eps();
    b.gamma2 = norms[1]->weight, b.beta2 = norms[1]->bias, b.eps2 = norms[1]->options.eps();
    if (moving) {
      b.displacement = moving->displacement, b.stride = moving->stride;
      b.interpolated = moving->interpolated, b.removal_cost = moving->removal_cost;
    }
    if (depthwise_) b.depthwise = depthwise_->weight, b.stride = depthwise_->stride;
    b.residual = unit.shortcut == Shortcut::kIdentity;
    if (!norms[0]->is_training()) {
      b.mean1 = norms[0]->running_mean, b.variance1 = norms[0]->running_var;
      b.mean2 = norms[1]->running_mean, b.variance2 = norms[1]->running_var;
    }
    if (squeeze) b.scale = squeeze->scale(pooled_hidden(b).unsqueeze(2).unsqueeze(3)).flatten(1);
    const BottleneckResult r = fused_bottleneck(b);
    if (norms[0]->is_training()) {
      track_moments(*norms[0], r.mean1, r.variance1, r.count1);
      track_moments(*norms[1], r.mean2, r.variance2, r.count2);
    }
    return unit.shortcut == Shortcut::kProjection ? r.y + projected(x, r.y) : r.y;
  }
  // The shortcut, as one matrix product an image, contiguous as the fused operator's results are.
  Tensor projected(const Tensor& x, const Tensor& like) {
    const int64_t stride = shortcut->conv->options.stride()->at(0);
    const Tensor some = x.slice(2, 0, x.size(2), stride).slice(3, 0, x.size(3), stride);
    const Tensor weight = shortcut->conv->weight.flatten(1).expand({x.size(0), -1, -1});
    return normalise(*shortcut->norm, torch::bmm(weight, some.flatten(2)).view_as(like));
  }

  Tensor hidden(const Tensor& x) {
    if (moving) return expand->forward_shift(x, moving);
    const Tensor h = expand->forward(x);
    if (spatial) return spatial->forward(h);
    return std::min(h.size(2), h.size(3)) > 1 ? torch::avg_pool2d(h, 2) : h;
  }

  Tensor residual(const Tensor& x) {
    Tensor h = hidden(x);
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
  std::shared_ptr<SpatialModule> spatial;
  ShiftLayer moving{nullptr};                  // the same, where it is a shift, or
  std::shared_ptr<DepthwiseLayer> depthwise_;  // where it is a convolution
  SqueezeExcite squeeze{nullptr};
};

struct BasicUnit : UnitModule {
  explicit BasicUnit(const BasicBlock& unit_) : unit(unit_) {
    first = register_module("first", ConvNorm(ConvBn{unit.in, unit.out, 3, unit.stride, Activation::kRelu}));
    second = register_module("second", ConvNorm(ConvBn{unit.out, unit.out, 3, 1}));
  }
  Tensor forward(const Tensor& x) override {
    return torch::relu(shortcut(x) + second->forward(first->forward(x)));
  }
  Tensor shortcut(const Tensor& x) const {
    if (unit.stride == 1 && unit.in == unit.out) return x;
    const Tensor some = x.slice(2, 0, x.size(2), unit.stride).slice(3, 0, x.size(3), unit.stride);
    return torch::constant_pad_nd(some, {0, 0, 0, 0, 0, unit.out - unit.in});
  }
  BasicBlock unit;
  ConvNorm first{nullptr}, second{nullptr};
};

struct UniversalUnit : UnitModule {
  explicit UniversalUnit(const UniversalBottleneck& unit_) : unit(unit_) {
    if (unit.start_kernel > 0) {
      start = register_module(
          "start", ConvNorm(depthwise(unit.in, unit.start_kernel, unit.kernel > 0 ? 1 : unit.stride)));
    }
    if (unit.hidden != unit.in) {
      expand = register_module("expand", ConvNorm(pointwise(unit.in, unit.hidden, unit.activation)));
    }
    if (unit.kernel > 0) {
      middle = register_module("depthwise",
                               ConvNorm(depthwise(unit.hidden, unit.kernel, unit.stride, unit.activation)));
    }
    project = register_module("project", ConvNorm(pointwise(unit.hidden, unit.out)));
  }
  Tensor forward(const Tensor& x) override {
    Tensor h = x;
    for (ConvNorm* layer : {&start, &expand, &middle, &project}) {
      if (*layer) h = (*layer)->forward(h);
    }
    return unit.residual() ? x + h : h;
  }
  UniversalBottleneck unit;
  ConvNorm start{nullptr}, expand{nullptr}, middle{nullptr}, project{nullptr};
};

struct ShuffleUnitModule : UnitModule {
  explicit ShuffleUnitModule(const ShuffleUnit& unit_) : unit(unit_) {
    const int half = unit.out / 2, in = unit.stride == 1 ? half : unit.in;
    if (unit.stride == 2) {
      auto beside = std::make_shared<nn::Module>();
      beside_depthwise = beside->register_module("depthwise", ConvNorm(depthwise(in, 3, 2)));
      beside_project = beside->register_module("project", ConvNorm(pointwise(in, half, Activation::kRelu)));
      register_module("beside", beside);
    }
    expand = register_module("expand", ConvNorm(pointwise(in, half, Activation::kRelu)));
    middle = register_module("depthwise", ConvNorm(depthwise(half, 3, unit.stride)));
    project = register_module("project", ConvNorm(pointwise(half, half, Activation::kRelu)));
  }
  Tensor forward(const Tensor& x) override {
    const bool strided = unit.stride == 2;
    const Tensor own = strided ? x : x.slice(1, unit.in / 2).contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor passed =
        strided ? beside_project->forward(beside_depthwise->forward(x)) : x.slice(1, 0, unit.in / 2);
    const Tensor mixed = project->forward(middle->forward(expand->forward(own)));
    // Channel k of the one half, then channel k of the other.
    return torch::stack({passed, mixed}, 2).flatten(1, 2).contiguous(at::MemoryFormat::ChannelsLast);
  }
  ShuffleUnit unit;
  ConvNorm expand{nullptr}, middle{nullptr}, project{nullptr}, beside_depthwise{nullptr},
      beside_project{nullptr};
};

struct PartialUnit : UnitModule {
  explicit PartialUnit(const PartialBlock& unit_) : unit(unit_) {
    const int64_t mixed = unit.mixed();
    mix = register_module("mix", nn::Conv2d(nn::Conv2dOptions(mixed, mixed, 3).padding(1).bias(false)));
    expand = register_module("expand", ConvNorm(pointwise(unit.channels, unit.hidden, Activation::kGelu)));
    auto last = nn::Conv2dOptions(unit.hidden, unit.channels, 1).bias(false);
    auto holder = std::make_shared<nn::Module>();  // named as a ConvNorm's convolution is
    project = holder->register_module("conv", nn::Conv2d(last));
    register_module("project", holder);
  }
  Tensor forward(const Tensor& x) override {
    const Tensor some = x.slice(1, 0, unit.mixed()).contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor z =
        torch::cat({mix(some), x.slice(1, unit.mixed())}, 1).contiguous(at::MemoryFormat::ChannelsLast);
    return x + project(expand->forward(z));
  }
  PartialBlock unit;
  nn::Conv2d mix{nullptr}, project{nullptr};
  ConvNorm expand{nullptr};
};

struct ClassifierUnit : UnitModule {
  explicit ClassifierUnit(const Classifier& unit_) : unit(unit_) {
    int channels = unit.in;
    if (unit.head > 0) {
      head = register_module("head", ConvNorm(pointwise(channels, unit.head, unit.activation)));
      channels = unit.head;
    }
    if (unit.pooled > 0) {
      auto holder = std::make_shared<nn::Module>();
      pooled = holder->register_module("conv",
                                       nn::Conv2d(nn::Conv2dOptions(channels, unit.pooled, 1).bias(false)));
      if (unit.pooled_norm) norm = holder->register_module("norm", nn::BatchNorm2d(unit.pooled));
      register_module("pooled", holder);
      channels = unit.pooled;
    }
    dropout = register_module("dropout", nn::Dropout(unit.dropout));
    linear = register_module("linear", nn::Linear(channels, unit.classes));
  }
  Tensor forward(const Tensor& x) override {
    Tensor z = head ? head->forward(x) : activate(x, unit.activation);
    z = z.mean({2, 3}, true);
    if (pooled) {
      z = pooled(z);
      if (norm) z = normalise(*norm, z);
      z = activate(z, unit.pooled_activation);
    }
    return linear(drop(*dropout, z.flatten(1)));
  }

  Classifier unit;
  ConvNorm head{nullptr};
  nn::Conv2d pooled{nullptr};
  nn::BatchNorm2d norm{nullptr};
  nn::Dropout dropout{nullptr};
  nn::Linear linear{nullptr};
};

}  // namespace

std::shared_ptr<UnitModule> make_unit(const Unit& unit, const std::string& shift) {
  struct Visitor {
    using Made = std::shared_ptr<UnitModule>;
    Made operator()(const ConvBn& u) { return std::make_shared<ConvUnit>(u); }
    Made operator()(const MaxPool& u) { return std::make_shared<MaxPoolUnit>(u); }
    Made operator()(const InvertedBottleneck& u) { return std::make_shared<BottleneckUnit>(u, shift); }
    Made operator()(const BasicBlock& u) { return std::make_shared<BasicUnit>(u); }
    Made operator()(const UniversalBottleneck& u) { return std::make_shared<UniversalUnit>(u); }
    Made operator()(const ShuffleUnit& u) { return std::make_shared<ShuffleUnitModule>(u); }
    Made operator()(const PartialBlock& u) { return std::make_shared<PartialUnit>(u); }
    Made operator()(const Classifier& u) { return std::make_shared<ClassifierUnit>(u); }
    const std::string& shift;
  };
  return std::visit(Visitor{shift}, unit);
}

}  // namespace fewshift
