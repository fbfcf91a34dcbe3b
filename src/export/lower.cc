// SPDX-License-Identifier: Apache-2.0
#include "export/lower.h"

#include <algorithm>
#include <cmath>

#include "arch/spatial.h"
#include "core/error.h"

namespace fewshift {
namespace {

using graph::Dims;
using graph::Function;
using graph::Pair;
using graph::Tensor;

// Writes units one behind the other; `x` is the value that the next one reads, of channels_ x size_ x size_.
class Lowering {
 public:
  Lowering(const Arch& arch, const Weights& weights, int size) : arch_(arch), weights_(weights), size_(size) {
    g_.name = arch.name;
    g_.input_dims = {-1, 3, size, size};
    x_ = g_.input = g_.add_value("image");
  }

  graph::Graph run() {
    for (const NamedUnit& named : arch_.units) {
      name_ = named.name;
      std::visit([&](const auto& unit) { add(unit); }, named.unit);
    }
    g_.output = x_;
    g_.values[x_].name = "logits";
    return std::move(g_);
  }

 private:
  std::string at(const std::string& layer) const { return name_ + layer; }
  int constant(const std::string& name, const Dims& dims) { return g_.add_value(name, weights_(name, dims)); }

  // Layers, from value to value. `layer` is ".expand"; empty for a unit that is one layer.
  int conv(const std::string& layer, const ConvBn& c, int x, bool norm = true) {
    graph::Conv op{{c.kernel, c.kernel}, {c.stride, c.stride}, {1, 1},
                   {c.pad(), c.pad()},   {c.pad(), c.pad()},   c.groups};
    const int weight = constant(at(layer) + ".conv.weight", {c.out, c.in / c.groups, c.kernel, c.kernel});
    int y = g_.add(at(layer), op, {x, weight});
    size_ = (size_ + 2 * c.pad() - c.kernel) / c.stride + 1;
    if (norm) y = batch_norm(layer, c.out, y);
    return activate(layer, c.activation, y);
  }
  int pointwise(const std::string& layer, int in, int out, Activation activation, int x) {
    return conv(layer, {in, out, 1, 1, activation}, x);
  }
  int depthwise(const std::string& layer, int channels, int kernel, int stride, Activation activation,
                int x) {
    return conv(layer, {channels, channels, kernel, stride, activation, channels}, x);
  }
  int batch_norm(const std::string& layer, int channels, int x) {
    const std::string norm = at(layer) + ".norm.";
    std::vector<int> inputs = {x};
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      inputs.push_back(constant(norm + part, {channels}));
    }
    return g_.add(at(layer) + ".norm", graph::BatchNorm{}, inputs);
  }
  int activate(const std::string& layer, Activation activation, int x) {
    switch (activation) {
      case Activation::kNone:
        return x;
      case Activation::kRelu:
        return g_.add(at(layer) + ".relu", graph::Unary{Function::kRelu}, {x});
      case Activation::kRelu6:
        return g_.add(at(layer) + ".relu6", graph::Unary{Function::kClip, 0, 6}, {x});
      case Activation::kGelu:
        return g_.add(at(layer) + ".gelu", graph::Unary{Function::kGelu}, {x});
    }
    return x;
  }
  int slice(const std::string& layer, int x, int64_t axis, int64_t begin, int64_t end, int64_t step = 1) {
    return g_.add(at(layer), graph::Slice{axis, begin, end, step}, {x});
  }
  int sum(const std::string& layer, int a, int b) { return g_.add(at(layer), graph::Add{}, {a, b}); }

  int spatial(int channels, int stride, int x) {
    const SpatialOperator& op = spatial_operator(arch_.shift);
    const std::string layer = "." + op.layer;
    size_ = (size_ + stride - 1) / stride;
    if (arch_.shift == "depthwise") {
      return g_.add(at(layer), graph::Conv{{3, 3}, {stride, stride}, {1, 1}, {1, 1}, {1, 1}, channels},
                    {x, constant(at(layer) + ".weight", {channels, 1, 3, 3})});
    }
    if (arch_.shift == "asl") return interpolated(layer, channels, stride, x);
    if (op.displacements == Displacements::kNone || op.layer != "shift") {
      throw Error(ErrorCode::kUnsupported, "--shift " + arch_.shift,
                  "has no counterpart among ONNX's operators here");
    }
    const Tensor u = weights_(at(layer) + ".displacement", {channels, 2});
    graph::Shift shift;
    shift.stride = stride;
    for (int c = 0; c < channels; ++c)
      shift.moves.push_back({whole(u.values[2 * c]), whole(u.values[2 * c + 1])});
    return g_.add(at(layer), shift, {x});
  }
  // Half to even, as in training; what lies beyond every map stays beyond it.
  static int32_t whole(float u) {
    return static_cast<int32_t>(
        std::clamp<double>(std::nearbyint(static_cast<double>(u)), -(1 << 20), 1 << 20));
  }
  // Bilinear interpolation as a depthwise convolution: at most four weights a channel differ from zero.
  int interpolated(const std::string& layer, int channels, int stride, int x) {
    const Tensor u = weights_(at(layer) + ".displacement", {channels, 2});
    const int64_t beyond = stride * size_ + 1;  // farther than this, all is outside
    Pair low{0, 0}, high{0, 0};
    for (int c = 0; c < channels; ++c) {
      for (int a = 0; a < 2; ++a) {
        const double place = std::clamp<double>(u.values[2 * c + a], -beyond, beyond);
        low[a] = std::min(low[a], static_cast<int64_t>(std::floor(place)));
        high[a] = std::max(high[a], static_cast<int64_t>(std::floor(place)) + 1);
      }
    }
    const Pair kernel{high[0] - low[0] + 1, high[1] - low[1] + 1};
    Tensor weight{{channels, 1, kernel[0], kernel[1]},
                  std::vector<float>(channels * kernel[0] * kernel[1], 0.0f)};
    for (int c = 0; c < channels; ++c) {
      const double dy = std::clamp<double>(u.values[2 * c], -beyond, beyond),
                   dx = std::clamp<double>(u.values[2 * c + 1], -beyond, beyond);
      const double p = dy - std::floor(dy), q = dx - std::floor(dx);
      const auto k = static_cast<int64_t>(std::floor(dy)) - low[0],
                 l = static_cast<int64_t>(std::floor(dx)) - low[1];
      for (int a = 0; a < 2; ++a) {
        for (int b = 0; b < 2; ++b) {
          weight.values[(c * kernel[0] + k + a) * kernel[1] + l + b] =
              static_cast<float>((a ? p : 1 - p) * (b ? q : 1 - q));
        }
      }
    }
    // Padding of the output's size: the last window, at stride * (size_ - 1), ends high px behind its pixel.
    graph::Conv op{kernel, {stride, stride}, {1, 1}, {-low[0], -low[1]}, high, channels};
    return g_.add(at(layer), op, {x, g_.add_value(at(layer) + ".weight", std::move(weight))});
  }
  int squeeze_excite(int channels, int reduction, int x) {
    const std::string layer = at(".squeeze");
    const int narrow = channels / reduction;
    int s = g_.add(layer + ".mean", graph::GlobalAverage{}, {x});
    s = g_.add(layer + ".reduce", graph::Conv{},
               {s, constant(layer + ".reduce.weight", {narrow, channels, 1, 1}),
                constant(layer + ".reduce.bias", {narrow})});
    s = g_.add(layer + ".relu", graph::Unary{Function::kRelu}, {s});
    s = g_.add(layer + ".expand", graph::Conv{},
               {s, constant(layer + ".expand.weight", {channels, narrow, 1, 1}),
                constant(layer + ".expand.bias", {channels})});
    s = g_.add(layer + ".sigmoid", graph::Unary{Function::kSigmoid}, {s});
    return g_.add(layer, graph::Mul{}, {x, s});
  }

  // Units.
  void add(const ConvBn& unit) { x_ = conv("", unit, x_); }
  void add(const MaxPool& unit) {
    const int64_t pad = unit.kernel / 2;
    x_ = g_.add(
        name_,
        graph::Pool{true, {unit.kernel, unit.kernel}, {unit.stride, unit.stride}, {pad, pad}, {pad, pad}},
        {x_});
    size_ = static_cast<int>((size_ + 2 * pad - unit.kernel) / unit.stride + 1);
  }
  void add(const InvertedBottleneck& unit) {
    const int out = unit.first > 0 ? unit.width() : unit.out,
              stride = unit.spatial == Spatial::kStridedShift ? 2 : 1;
    const int whole = x_, own = unit.first > 0 ? slice(".taken", x_, 1, unit.first, unit.in) : x_;
    int h = pointwise(".expand", unit.width(), unit.hidden, Activation::kRelu, own);
    if (unit.spatial != Spatial::kPool) {
      h = spatial(unit.hidden, stride, h);
    } else if (size_ > 1) {
      h = g_.add(at(".pool"), graph::Pool{false, {2, 2}, {2, 2}}, {h});
      size_ /= 2;
    }
    if (unit.squeeze > 0) h = squeeze_excite(unit.hidden, unit.squeeze, h);
    h = pointwise(".project", unit.hidden, out, Activation::kNone, h);
    if (unit.shortcut == Shortcut::kIdentity) h = sum(".sum", own, h);
    if (unit.shortcut == Shortcut::kProjection) {
      const int size = size_;
      h = sum(".sum", conv(".shortcut", {unit.width(), out, 1, stride}, own), h);
      size_ = size;
    }
    x_ = unit.first > 0
             ? g_.add(at(".joined"), graph::Concat{1}, {slice(".passed", whole, 1, 0, unit.first), h})
             : h;
  }
  void add(const BasicBlock& unit) {
    const int size = size_;
    int h = conv(".first", {unit.in, unit.out, 3, unit.stride, Activation::kRelu}, x_);
    h = conv(".second", {unit.out, unit.out, 3, 1}, h);
    int same = x_;
    if (unit.stride > 1) {
      same = slice(".rows", same, 2, 0, size, unit.stride);
      same = slice(".columns", same, 3, 0, size, unit.stride);
    }
    if (unit.in != unit.out)
      same = g_.add(at(".zeros"), graph::Pad{{0, 0, 0, 0}, {0, unit.out - unit.in, 0, 0}}, {same});
    x_ = activate("", Activation::kRelu, sum(".sum", same, h));
  }
  void add(const UniversalBottleneck& unit) {
    int h = x_;
    if (unit.start_kernel > 0)
      h = depthwise(".start", unit.in, unit.start_kernel, unit.kernel > 0 ? 1 : unit.stride,
                    Activation::kNone, h);
    if (unit.hidden != unit.in) h = pointwise(".expand", unit.in, unit.hidden, unit.activation, h);
    if (unit.kernel > 0)
      h = depthwise(".depthwise", unit.hidden, unit.kernel, unit.stride, unit.activation, h);
    h = pointwise(".project", unit.hidden, unit.out, Activation::kNone, h);
    x_ = unit.residual() ? sum(".sum", x_, h) : h;
  }
  void add(const ShuffleUnit& unit) {
    const int half = unit.out / 2, in = unit.stride == 1 ? half : unit.in, size = size_;
    int passed, own = x_;
    if (unit.stride == 2) {
      passed = depthwise(".beside.depthwise", in, 3, 2, Activation::kNone, x_);
      passed = pointwise(".beside.project", in, half, Activation::kRelu, passed);
      size_ = size;
    } else {
      passed = slice(".passed", x_, 1, 0, half);
      own = slice(".taken", x_, 1, half, unit.in);
    }
    own = pointwise(".expand", in, half, Activation::kRelu, own);
    own = depthwise(".depthwise", half, 3, unit.stride, Activation::kNone, own);
    own = pointwise(".project", half, half, Activation::kRelu, own);
    // Channel k of the one half, then channel k of the other.
    int y = g_.add(at(".joined"), graph::Concat{1}, {passed, own});
    y = g_.add(at(".halves"), graph::Reshape{{0, 2, half, size_, size_}}, {y});
    y = g_.add(at(".interleaved"), graph::Transpose{{0, 2, 1, 3, 4}}, {y});
    x_ = g_.add(at(".shuffled"), graph::Reshape{{0, unit.out, size_, size_}}, {y});
  }
  void add(const PartialBlock& unit) {
    const int mixed = unit.mixed();
    int z = slice(".taken", x_, 1, 0, mixed);
    z = g_.add(at(".mix"), graph::Conv{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
               {z, constant(at(".mix.weight"), {mixed, mixed, 3, 3})});
    z = g_.add(at(".joined"), graph::Concat{1}, {z, slice(".passed", x_, 1, mixed, unit.channels)});
    z = pointwise(".expand", unit.channels, unit.hidden, Activation::kGelu, z);
    z = conv(".project", {unit.hidden, unit.channels, 1, 1}, z, false);
    x_ = sum(".sum", x_, z);
  }
  void add(const Classifier& unit) {
    int channels = unit.in, z = x_;
    if (unit.head > 0) {
      z = pointwise(".head", channels, unit.head, unit.activation, z);
      channels = unit.head;
    } else {
      z = activate("", unit.activation, z);
    }
    z = g_.add(at(".mean"), graph::GlobalAverage{}, {z});
    size_ = 1;
    if (unit.pooled > 0) {
      z = conv(".pooled", {channels, unit.pooled, 1, 1, unit.pooled_activation}, z, unit.pooled_norm);
      channels = unit.pooled;
    }
    z = g_.add(at(".flat"), graph::Reshape{{0, channels}}, {z});
    x_ = g_.add(at(".linear"), graph::Linear{},
                {z, constant(at(".linear.weight"), {unit.classes, channels}),
                 constant(at(".linear.bias"), {unit.classes})});
  }

  const Arch& arch_;
  const Weights& weights_;
  int size_;
  std::string name_;
  graph::Graph g_;
  int x_ = 0;
};

}  // namespace

graph::Graph lower(const Arch& arch, const Weights& weights, int size) {
  return Lowering(arch, weights, size > 0 ? size : arch.size).run();
}

}  // namespace fewshift
