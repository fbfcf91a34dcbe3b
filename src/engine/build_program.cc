// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "engine/program.h"
#include "graph/passes/passes.h"

namespace fewshift::engine {
namespace {

using graph::Dims;
using graph::Node;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a value is while steps are made: a view, and for a moment, in a shuffle, two factors of its channels.
struct Seen {
  View view;
  int64_t outer = 0, inner = 0;  // [N,outer,inner,H,W] where set
};

class Builder {
 public:
  explicit Builder(graph::Graph& graph)
      : graph_(graph), seen_(graph.values.size()), readers_(count_readers(graph)) {
    Dims input = graph.input_dims;
    if (input.size() != 4)
      throw Error(ErrorCode::kUnsupported, "input", "is " + graph::text(input) + ", not NCHW");
    input[0] = 1;
    if (!std::all_of(input.begin(), input.end(), [](int64_t dim) { return dim > 0; }))
      throw Error(ErrorCode::kUnsupported, "input",
                  "has channels or a size that the file leaves open; only the batch may be");
    dims_ = infer_shapes(graph, input);
    find_tail();
  }

  Program run() {
    program_.input_dims = dims_[graph_.input];
    program_.output_dims = dims_[graph_.output];
    program_.input = new_map(dims_[graph_.input], false);
    program_.maps[program_.input].planar = only_convolved(graph_.input);
    seen_[graph_.input] = whole(program_.input);
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      std::visit([&](const auto& op) { add(op); }, node.op);
    }
    const Seen& output = seen(graph_.output);
    program_.output = output.view;
    // What is done once for all pictures comes after what is done for each.
    std::stable_partition(program_.steps.begin(), program_.steps.end(),
                          [](const Step& s) { return !s.tail; });
    return std::move(program_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, "node " + node_->name + " (" + kind(node_->op) + ")", what);
  }
  bool is_constant(int v) const { return graph_.values[v].constant.has_value(); }
  const graph::Tensor& constant(size_t k) const {
    const auto& value = graph_.values[node_->inputs[k]].constant;
    if (!value) refuse("its input " + std::to_string(k) + " is no constant");
    return *value;
  }
  static bool one_pixel(const Dims& dims) {
    return dims.size() == 2 || (dims.size() == 4 && dims[2] == 1 && dims[3] == 1);
  }

  // A constant's numbers, which nobody else reads.
  Floats take(size_t k) {
    Floats& values = graph_.values[node_->inputs[k]].constant->values;
    return readers_[node_->inputs[k]] == 1 ? std::move(values) : values;
  }

  // Values of one pixel that only values of one pixel follow: pictures of a batch become their columns.
  void find_tail() {
    tail_.assign(dims_.size(), false);
    tail_[graph_.output] = one_pixel(dims_[graph_.output]);
    std::vector<char> all(dims_.size(), true);  // readers, so far, in the tail
    all[graph_.output] = tail_[graph_.output];
    for (size_t k = graph_.nodes.size(); k-- > 0;) {
      const Node& node = graph_.nodes[k];
      tail_[node.output] = all[node.output] && one_pixel(dims_[node.output]);
      for (int v : node.inputs) all[v] = all[v] && tail_[node.output];
    }
    for (const Node& node : graph_.nodes) {  // one that reads both kinds, or is a view across: no tail at all
      bool some = false, every = true;
      for (int v : node.inputs) {
        if (!is_constant(v)) some |= tail_[v], every &= tail_[v];
      }
      if ((some && !every) || (makes_view(node) && some != static_cast<bool>(tail_[node.output])))
        tail_.assign(dims_.size(), false);
    }
  }
  bool makes_view(const Node& node) const {
    if (std::holds_alternative<graph::Pool>(node.op) || std::holds_alternative<graph::GlobalAverage>(node.op))
      return one_pixel(dims_[node.inputs[0]]) && one_pixel(dims_[node.output]);
    return std::holds_alternative<graph::Shift>(node.op) || std::holds_alternative<graph::Concat>(node.op) ||
           std::holds_alternative<graph::Slice>(node.op) || std::holds_alternative<graph::Pad>(node.op) ||
           std::holds_alternative<graph::Reshape>(node.op) ||
           std::holds_alternative<graph::Transpose>(node.op);
  }

  bool only_convolved(int v) const {
    for (const Node& node : graph_.nodes) {
      if (std::find(node.inputs.begin(), node.inputs.end(), v) == node.inputs.end()) continue;
      const auto* conv = std::get_if<graph::Conv>(&node.op);
      if (!conv || depthwise(*conv, node) || node.inputs[0] != v) return false;
    }
    return v != graph_.output;
  }
  bool depthwise(const graph::Conv& op, const Node& node) const {
    const Dims& w = dims_[node.inputs[1]];
    return op.groups > 1 && w[1] == 1 && w[0] == op.groups;
  }

  int new_map(const Dims& dims, bool tail) {
    const bool pixels = dims.size() == 4;
    if (dims.size() != 4 && dims.size() != 2) refuse("its output is " + graph::text(dims));
    program_.maps.push_back({dims[1], pixels ? dims[2] : 1, pixels ? dims[3] : 1, false, tail, -1, 0});
    return static_cast<int>(program_.maps.size()) - 1;
  }
  Seen whole(int map) const {
    const Map& m = program_.maps[map];
    View view{{}, m.height, m.width, 1, 1};
    for (int64_t c = 0; c < m.channels; ++c) view.channels.push_back({map, static_cast<int>(c), 0, 0});
    return {std::move(view), 0, 0};
  }
  const Seen& seen(int v) const {
    if (is_constant(v)) refuse("computes with the constant " + graph_.values[v].name);
    return seen_[v];
  }
  const View& view(size_t k) const {
    const Seen& s = seen(node_->inputs[k]);
    if (s.outer > 0) refuse("reads a value of five dimensions");
    return s.view;
  }
  void set(View view) { seen_[node_->output] = {std::move(view), 0, 0}; }

  Step& step(Operator op, std::vector<View> reads) {
    const bool tail = tail_[node_->output];
    bool reads_tail = false;
    for (int v : node_->inputs) reads_tail |= !is_constant(v) && tail_[v];
    const int map = new_map(dims_[node_->output], tail);
    program_.steps.push_back({node_->name, std::move(op), std::move(reads), map, reads_tail, false});
    seen_[node_->output] = whole(map);
    return program_.steps.back();
  }
  static bool displaced(const View& view) {
    return std::any_of(view.channels.begin(), view.channels.end(),
                       [](const Source& s) { return s.dy != 0 || s.dx != 0; });
  }
  // The view in a map of its own, where its pixels' neighbours are its own too.
  View copied(const View& view) {
    program_.maps.push_back(
        {static_cast<int64_t>(view.channels.size()), view.height, view.width, false, false, -1, 0});
    const int map = static_cast<int>(program_.maps.size()) - 1;
    program_.steps.push_back({node_->name + ".copy", Copy{}, {view}, map, false, true});
    return whole(map).view;
  }
  View settled(size_t k) { return displaced(view(k)) ? copied(view(k)) : view(k); }

  void add(const graph::Conv& op) {
    const graph::Tensor& w = constant(1);
    const Dims& y = dims_[node_->output];
    program_.madds += graph::elements(w.dims) * y[2] * y[3];
    const int64_t outputs = w.dims[0], each = w.dims[1] * w.dims[2] * w.dims[3];
    Floats bias(outputs, 0.0f);
    if (node_->inputs.size() >= 3) bias = constant(2).values;
    const bool neighbours = op.kernel[0] > 1 || op.kernel[1] > 1 || op.pad_begin != graph::Pair{0, 0} ||
                            op.pad_end != graph::Pair{0, 0};
    const View x = neighbours ? settled(0) : view(0);
    const bool shifts = displaced(x);
    std::vector<View> reads = {x};
    if (op.adds) reads.push_back(view(3));
    if (depthwise(op, *node_) && !op.adds) {
      if (one_pixel(dims_[node_->inputs[0]]) && one_pixel(dims_[node_->output])) {  // a number a channel
        Scale scale{{}, {bias.begin(), bias.end()}, op.low, op.high};
        const int64_t tap =
            op.pad_begin[0] / op.dilation[0] * op.kernel[1] + op.pad_begin[1] / op.dilation[1];
        const bool on_it = op.pad_begin[0] % op.dilation[0] == 0 && op.pad_begin[1] % op.dilation[1] == 0;
        for (int64_t o = 0; o < outputs; ++o) scale.scale.push_back(on_it ? w.values[o * each + tap] : 0.0f);
        step(std::move(scale), {x});
        return;
      }
      step(ConvolveDepthwise{op, take(1), std::move(bias), 0, 0}, {shifts ? copied(x) : x});
      return;
    }
    // Groups as one product with zeros between them.
    Floats weight;
    if (op.groups == 1) {
      weight = take(1);
    } else {
      const int64_t inputs = static_cast<int64_t>(x.channels.size()), taps = w.dims[2] * w.dims[3];
      weight = Floats(outputs * inputs * taps, 0.0f);
      for (int64_t o = 0; o < outputs; ++o) {
        const int64_t first = o / (outputs / op.groups) * w.dims[1];
        std::copy_n(w.values.begin() + o * each, each, weight.begin() + (o * inputs + first) * taps);
      }
    }
    Convolve convolve;
    convolve.conv = op;
    convolve.weight = std::move(weight), convolve.bias = std::move(bias);
    step(std::move(convolve), std::move(reads)).shifts = shifts;
  }
  void add(const graph::Linear&) {
    const graph::Tensor& w = constant(1);
    program_.madds += graph::elements(w.dims);
    Floats bias(w.dims[0], 0.0f);
    if (node_->inputs.size() == 3) bias = constant(2).values;
    Convolve product;
    product.weight = take(1), product.bias = std::move(bias);
    step(std::move(product), {view(0)});
  }
  void add(const graph::Shift& op) {
    View x = settled(0);
    const Dims& y = dims_[node_->output];
    for (size_t c = 0; c < x.channels.size(); ++c) {
      const auto [dy, dx] = op.moves[c];
      if (!graph::sees(dy, op.stride, y[2], x.height) || !graph::sees(dx, op.stride, y[3], x.width)) {
        x.channels[c] = {};
        continue;
      }
      x.channels[c].dy = static_cast<int>(x.stride_y * dy);
      x.channels[c].dx = static_cast<int>(x.stride_x * dx);
    }
    x.stride_y *= op.stride, x.stride_x *= op.stride;
    x.height = y[2], x.width = y[3];
    set(std::move(x));
  }
  void add(const graph::BatchNorm& op) {
    Scale scale;
    for (size_t c = 0; c < constant(1).values.size(); ++c) {
      const double factor = constant(1).values[c] / std::sqrt(double(constant(4).values[c]) + op.epsilon);
      scale.scale.push_back(static_cast<float>(factor));
      scale.shift.push_back(static_cast<float>(constant(2).values[c] - constant(3).values[c] * factor));
    }
    step(std::move(scale), {view(0)});
  }
  void add(const graph::Unary& op) {
    Apply apply{ElementFunction::kClamp, 0, kInfinity};
    switch (op.function) {
      case graph::Function::kRelu:
        break;
      case graph::Function::kClip:
        apply.low = op.low, apply.high = op.high;
        break;
      case graph::Function::kSigmoid:
        apply.function = ElementFunction::kSigmoid;
        break;
      case graph::Function::kErf:
        apply.function = ElementFunction::kErf;
        break;
      case graph::Function::kGelu:
        apply.function = ElementFunction::kGelu;
        break;
      case graph::Function::kHardSigmoid:
        apply.function = ElementFunction::kHardSigmoid;
        break;
      case graph::Function::kHardSwish:
        apply.function = ElementFunction::kHardSwish;
        break;
      case graph::Function::kSoftmax:
        refuse("softmax is not computed here: leave it out, predict applies it to the logits");
    }
    step(apply, {view(0)});
  }
  void add(const graph::Add&) { combine(false); }
  void add(const graph::Mul&) { combine(true); }
  void combine(bool multiply) {
    for (size_t k = 0; k < 2; ++k) {  // with a constant: a number, or one a channel
      if (!is_constant(node_->inputs[k])) continue;
      const graph::Tensor& numbers = constant(k);
      const auto channels = static_cast<size_t>(dims_[node_->output][1]);
      AlignedFloats values(numbers.values.begin(), numbers.values.end());
      const bool by_channel = numbers.dims.size() == 4
                                  ? numbers.dims[2] == 1 && numbers.dims[3] == 1 && numbers.dims[0] == 1
                              : numbers.dims.size() == 3 ? numbers.dims[1] == 1 && numbers.dims[2] == 1
                                                         : false;
      if (values.size() == 1)
        values.assign(channels, values[0]);
      else if (!by_channel || values.size() != channels)
        refuse("computes with a constant of " + graph::text(numbers.dims));
      if (dims_[node_->inputs[1 - k]] != dims_[node_->output]) refuse("broadcasts a map to a constant");
      step(multiply ? Scale{values, AlignedFloats(channels, 0.0f), -kInfinity, kInfinity}
                    : Scale{AlignedFloats(channels, 1.0f), values, -kInfinity, kInfinity},
           {view(1 - k)});
      return;
    }
    const Dims &a = dims_[node_->inputs[0]], &b = dims_[node_->inputs[1]];
    if (a == b) {
      step(Combine{multiply}, {view(0), view(1)});
      return;
    }
    for (size_t k = 0; k < 2; ++k) {  // a map and a number a channel
      const Dims &map = dims_[node_->inputs[k]], &numbers = dims_[node_->inputs[1 - k]];
      if (multiply && map == dims_[node_->output] && numbers.size() == 4 && one_pixel(numbers) &&
          numbers[1] == map[1]) {
        step(Scale{}, {view(k), view(1 - k)});
        return;
      }
    }
    refuse("does not combine " + graph::text(a) + " and " + graph::text(b));
  }
  void add(const graph::Pool& op) {
    makes_view(*node_) ? set(view(0)) : void(step(PoolPixels{op}, {settled(0)}));
  }
  void add(const graph::GlobalAverage&) {
    makes_view(*node_) ? set(view(0)) : void(step(AveragePixels{}, {settled(0)}));
  }
  void add(const graph::Concat& op) {
    if (op.axis != 1) refuse("joins along axis " + std::to_string(op.axis));
    View joined = view(0);
    for (size_t k = 1; k < node_->inputs.size(); ++k) {
      View next = view(k);
      if (next.stride_y != joined.stride_y || next.stride_x != joined.stride_x)
        joined = copied(joined), next = copied(next);
      joined.channels.insert(joined.channels.end(), next.channels.begin(), next.channels.end());
    }
    set(std::move(joined));
  }
  void add(const graph::Slice& op) {
    View x = view(0);
    if (op.axis == 1) {
      std::vector<Source> taken;
      for (int64_t c = op.begin; c < std::min<int64_t>(op.end, x.channels.size()); c += op.step)
        taken.push_back(x.channels[c]);
      x.channels = std::move(taken);
      return set(std::move(x));
    }
    if (op.axis < 2 || op.begin > 0 || op.end < dims_[node_->inputs[0]][op.axis])
      refuse("takes part of axis " + std::to_string(op.axis));
    (op.axis == 2 ? x.stride_y : x.stride_x) *= op.step;
    (op.axis == 2 ? x.height : x.width) = dims_[node_->output][op.axis];
    set(std::move(x));
  }
  void add(const graph::Pad& op) {
    for (size_t k = 0; k < op.before.size(); ++k) {
      if (k != 1 && (op.before[k] || op.behind[k])) refuse("pads axis " + std::to_string(k));
    }
    View x = view(0);
    x.channels.insert(x.channels.begin(), op.before[1], Source{});
    x.channels.insert(x.channels.end(), op.behind[1], Source{});
    set(std::move(x));
  }
  void add(const graph::Reshape&) {
    const Dims &from = dims_[node_->inputs[0]], &to = dims_[node_->output];
    Seen x = seen(node_->inputs[0]);
    auto pixels = [](const Dims& d) { return std::pair{d[d.size() - 2], d.back()}; };
    if (from.size() == 4 && to.size() == 5 && to[0] == 1 && pixels(from) == pixels(to)) {
      x.outer = to[1], x.inner = to[2];
    } else if (from.size() == 5 && to.size() == 4 && to[0] == 1 && pixels(from) == pixels(to)) {
      x.outer = x.inner = 0;
    } else if (!(one_pixel(from) && one_pixel(to) && to[0] == 1)) {
      refuse("makes " + graph::text(to) + " of " + graph::text(from));
    }
    seen_[node_->output] = std::move(x);
  }
  void add(const graph::Transpose& op) {
    const Seen& x = seen(node_->inputs[0]);
    if (x.outer == 0 || op.order != std::vector<int64_t>{0, 2, 1, 3, 4}) refuse("is no shuffle of channels");
    Seen y = x;
    for (int64_t a = 0; a < x.outer; ++a) {
      for (int64_t b = 0; b < x.inner; ++b)
        y.view.channels[b * x.outer + a] = x.view.channels[a * x.inner + b];
    }
    y.outer = x.inner, y.inner = x.outer;
    seen_[node_->output] = std::move(y);
  }

  graph::Graph& graph_;
  std::vector<Dims> dims_;
  std::vector<Seen> seen_;
  std::vector<char> tail_;
  std::vector<int> readers_;
  Program program_;
  const Node* node_ = nullptr;
};

}  // namespace

Program build_program(graph::Graph graph, int lanes) {
  graph::fold_batch_norm(graph);
  graph::recognise_shift(graph);
  graph::recognise_gelu(graph);
  graph::fuse_sum(graph);
  graph::fuse_activation(graph);
  Program program = Builder(graph).run();
  write_in_place(program, lanes);
  sort_channels(program);
  prepare(program, lanes);
  return program;
}

}  // namespace fewshift::engine
