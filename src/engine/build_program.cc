// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "engine/step_maker.h"

namespace fewshift::engine {
namespace {

class Builder : StepMaker {
 public:
  using StepMaker::StepMaker;

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
    if (output.outer > 0 || output.flat)
      throw Error(ErrorCode::kUnsupported, "the output",
                  "is " + graph::text(dims_[graph_.output]) + ", neither a map nor a list");
    program_.output = output.view;
    program_.features = features();
    program_.memory_bytes = limits_.memory_bytes;
    // What is done once for all pictures comes after what is done for each.
    std::stable_partition(program_.steps.begin(), program_.steps.end(),
                          [](const Step& s) { return !s.tail; });
    return std::move(program_);
  }

 private:
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
    const bool by_channel = depthwise(op, *node_) && !op.adds;
    if (op.groups > 1 && !by_channel) return add_groups(op, reads, shifts);
    count_weights(graph::elements(w.dims));
    if (by_channel) {
      if (one_pixel(dims_[node_->inputs[0]]) && one_pixel(dims_[node_->output])) {  // a number a channel
        Scale scale{{}, {bias.begin(), bias.end()}, false, op.low, op.high};
        const int64_t tap =
            op.pad_begin[0] / op.dilation[0] * op.kernel[1] + op.pad_begin[1] / op.dilation[1];
        bool on_it = true;
        for (int a = 0; a < 2; ++a)
          on_it &= op.pad_begin[a] % op.dilation[a] == 0 && op.pad_begin[a] / op.dilation[a] < op.kernel[a];
        for (int64_t o = 0; o < outputs; ++o) scale.scale.push_back(on_it ? w.values[o * each + tap] : 0.0f);
        step(std::move(scale), {x});
        return;
      }
      step(ConvolveDepthwise{op, take(1), std::move(bias), 0, 0}, {shifts ? copied(x) : x});
      return;
    }
    Convolve convolve;
    convolve.conv = op;
    convolve.weight = take(1), convolve.bias = std::move(bias);
    step(std::move(convolve), std::move(reads)).shifts = shifts;
  }
  // A product for each group; for several with zeros between them where one has fewer outputs than a vector.
  void add_groups(const graph::Conv& op, const std::vector<View>& reads, bool shifts) {
    const graph::Tensor& w = constant(1);
    const Dims& y = dims_[node_->output];
    const int64_t outputs = w.dims[0] / op.groups, inputs = w.dims[1], taps = w.dims[2] * w.dims[3];
    const int64_t together = std::min(op.groups, (lanes_ + outputs - 1) / outputs);
    auto part = [](const View& view, int64_t begin, int64_t end) {
      View result{{}, view.height, view.width, view.stride_y, view.stride_x};
      result.channels.assign(view.channels.begin() + begin, view.channels.begin() + end);
      return result;
    };
    View joined{{}, y[2], y[3], 1, 1};
    for (int64_t first = 0; first < op.groups; first += together) {
      const int64_t count = std::min(together, op.groups - first), from = first * outputs;
      count_weights(count * outputs * count * inputs * taps);
      Convolve convolve;
      convolve.conv = op;
      convolve.conv.groups = 1;
      convolve.weight = Floats(count * outputs * count * inputs * taps, 0.0f);
      convolve.bias = Floats(count * outputs, 0.0f);
      float* to = convolve.weight.begin();
      for (int64_t o = 0; o < count * outputs; ++o) {
        std::copy_n(w.values.begin() + (from + o) * inputs * taps, inputs * taps,
                    to + (o * count + o / outputs) * inputs * taps);
        if (node_->inputs.size() >= 3) convolve.bias[o] = constant(2).values[from + o];
      }
      std::vector<View> own = {part(reads[0], first * inputs, (first + count) * inputs)};
      if (op.adds) own.push_back(part(reads[1], from, from + count * outputs));
      Step& made = step(std::move(convolve), std::move(own), {1, count * outputs, y[2], y[3]});
      made.shifts = shifts;
      if (together < op.groups) made.name += "." + std::to_string(first / together);
      const View written = whole(made.writes).view;
      joined.channels.insert(joined.channels.end(), written.channels.begin(), written.channels.end());
    }
    set(std::move(joined));
  }
  void add(const graph::Linear&) {
    const graph::Tensor& w = constant(1);
    program_.madds += graph::elements(w.dims);
    count_weights(graph::elements(w.dims));
    Floats bias(w.dims[0], 0.0f);
    if (node_->inputs.size() == 3) bias = constant(2).values;
    Convolve product;
    product.weight = take(1), product.bias = std::move(bias);
    step(std::move(product), {view(0)});
  }
  void add(const graph::Shift& op) {
    View x = settled(0);
    if (std::max(x.stride_y, x.stride_x) * op.stride > kFarthest) x = copied(x);
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
      case graph::Function::kSwish:
        apply.function = ElementFunction::kSwish;
        break;
      case graph::Function::kSoftmax:
        program_.probabilities = node_->output == graph_.output;
        step(SoftMax{}, {view(0)});
        return;
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
      const size_t rank = dims_[node_->output].size();
      Dims lined = numbers.dims;  // as the output's
      if (lined.size() < rank) lined.insert(lined.begin(), rank - lined.size(), 1);
      const bool by_channel = lined.size() == rank && lined[1] == static_cast<int64_t>(values.size());
      if (values.size() == 1)
        values.assign(channels, values[0]);
      else if (!by_channel || values.size() != channels)
        refuse("computes with a constant of " + graph::text(numbers.dims));
      if (dims_[node_->inputs[1 - k]] != dims_[node_->output]) refuse("broadcasts a map to a constant");
      step(multiply ? Scale{values, AlignedFloats(channels, 0.0f)}
                    : Scale{AlignedFloats(channels, 1.0f), values},
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
      if (map == dims_[node_->output] && numbers.size() == 4 && one_pixel(numbers) && numbers[1] == map[1]) {
        Scale scale;
        scale.adds = !multiply;
        step(std::move(scale), {view(k), view(1 - k)});
        return;
      }
    }
    refuse("does not combine " + graph::text(a) + " and " + graph::text(b));
  }
  void add(const graph::Pool& op) {
    makes_view(*node_) ? set(view(0)) : void(step(PoolPixels{op}, {settled(0)}));
  }
  void add(const graph::GlobalAverage&) {
    if (makes_view(*node_)) return set(view(0));
    const View& x = seen(node_->inputs[0]).view;
    step(AveragePixels{}, {displaced(x) ? copied(x) : x});
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
    const Dims& d = dims_[node_->inputs[0]];
    if (op.axis < 2 || d.size() != 4 || op.step > kFarthest)
      refuse("takes part of axis " + std::to_string(op.axis));
    if (std::max(x.stride_y, x.stride_x) * op.step > kFarthest) x = copied(x);
    const bool rows = op.axis == 2;
    int64_t& stride = rows ? x.stride_y : x.stride_x;
    for (Source& s : x.channels) {
      if (s.map >= 0) (rows ? s.dy : s.dx) += static_cast<int>(op.begin * stride);
    }
    stride *= op.step;
    (rows ? x.height : x.width) = dims_[node_->output][op.axis];
    const bool part = op.begin > 0 || op.end < d[op.axis];
    set(part ? copied(x) : std::move(x));  // beside a part are pixels, not zeros
  }
  void add(const graph::Pad& op) {
    if (op.before[0] || op.behind[0]) refuse("pads the batch");
    View x = view(0);
    if (op.before.size() == 4 && (op.before[2] || op.behind[2] || op.before[3] || op.behind[3])) {
      x = settled(0);
      const Dims& y = dims_[node_->output];
      if (std::max(y[2], y[3]) > kLongest) refuse("makes " + graph::text(y));
      for (Source& s : x.channels) {
        s.dy -= static_cast<int>(x.stride_y * op.before[2]);
        s.dx -= static_cast<int>(x.stride_x * op.before[3]);
      }
      x.height = y[2], x.width = y[3];
      x = copied(x);
    }
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
    } else if (from.size() == 4 && to.size() == 3 && to[0] == 1 && to[1] == from[1]) {
      x.flat = !one_pixel(to);
    } else if (from.size() == 4 && to.size() == 2 && to[0] == 1 && !one_pixel(from)) {
      return set(flattened(x.view));
    } else if (from != to && !(one_pixel(from) && one_pixel(to) && to[0] == 1)) {
      refuse("makes " + graph::text(to) + " of " + graph::text(from));
    }
    seen_[node_->output] = std::move(x);
  }
  // Each pixel of each channel as a channel.
  View flattened(const View& x) {
    count(static_cast<int64_t>(x.channels.size()) * x.height * x.width);
    View flat{{}, 1, 1, 1, 1};
    for (const Source& s : x.channels) {
      for (int64_t i = 0; i < x.height; ++i) {
        for (int64_t j = 0; j < x.width; ++j) {
          flat.channels.push_back(s);
          flat.channels.back().dy += static_cast<int>(i * x.stride_y);
          flat.channels.back().dx += static_cast<int>(j * x.stride_x);
        }
      }
    }
    return flat;
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
};

}  // namespace

Program build_program(graph::Graph graph, int lanes, const graph::Limits& limits) {
  graph::fold_batch_norm(graph);
  graph::recognise_shift(graph);
  graph::recognise_functions(graph);
  graph::fuse_pad(graph);
  graph::fuse_sum(graph);
  graph::fuse_activation(graph);
  Program program = Builder(graph, lanes, limits).run();
  write_in_place(program, lanes);
  sort_channels(program);
  prepare(program, lanes);
  return program;
}

}  // namespace fewshift::engine
