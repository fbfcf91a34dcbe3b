// Nodes that compute. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "graph/onnx/shape_nodes.h"

namespace fewshift::graph::onnx {

class ArithmeticNodes : public ShapeNodes {
 protected:
  using ShapeNodes::ShapeNodes;

  template <Function function>
  void unary() {
    add(Unary{function}, {in(0)});
  }
  template <class Op>
  void plain() {
    add(Op{});
  }
  void sum() {
    int total = in(0);
    if (node_->inputs.size() == 1) return alias();
    for (size_t k = 1; k + 1 < node_->inputs.size(); ++k)
      total = emit("." + std::to_string(k), Add{}, {total, in(k)});
    add(Add{}, {total, in(node_->inputs.size() - 1)});
  }
  int negative(size_t k) { return emit(".negative", Mul{}, {in(k), scalar(".minus_one", -1)}); }
  void sub() { add(Add{}, {in(0), negative(1)}); }
  void neg() { add(Mul{}, {in(0), scalar(".minus_one", -1)}); }
  void div() {  // by a constant
    Tensor inverse = constant(1);
    for (float& value : inverse.values) value = 1 / value;
    add(Mul{}, {in(0), constant_value(node_->name + ".inverse", std::move(inverse))});
  }
  void cast() {
    if (integer("to", 0) != tensor::kTypeFloat) unsupported("casts to another type than float32");
    alias();
  }
  void conv() {
    const Dims w = constant(1).dims, x = image(0);
    if (w.size() != 4) unsupported("its weight is of " + text(w) + ": only images are read");
    Conv op;
    op.kernel = pair("kernel_shape", {w[2], w[3]});
    op.stride = pair("strides", {1, 1});
    op.dilation = pair("dilations", {1, 1});
    op.groups = integer("group", 1);
    pads(x, op.kernel, op.stride, op.dilation, op.pad_begin, op.pad_end);
    if (has(2)) constant(2);
    add(op);
  }
  void pads(const Dims& x, Pair kernel, Pair stride, Pair dilation, Pair& begin, Pair& end) const {
    const AttributeMessage* automatic = find("auto_pad");
    const std::string mode = automatic && !automatic->text.empty() ? automatic->text : "NOTSET";
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      for (int a = 0; a < 2; ++a) {
        const auto [least, most] = std::minmax({stride[a], kernel[a], dilation[a]});
        if (least < 1 || most > (1 << 20)) corrupt("has a kernel, stride or dilation out of range");
        const int64_t size = x[2 + a], outputs = (size + stride[a] - 1) / stride[a];
        const int64_t all =
            std::max<int64_t>(0, (outputs - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 - size);
        begin[a] = mode == "SAME_UPPER" ? all / 2 : all - all / 2;
        end[a] = all - begin[a];
      }
      return;
    }
    if (mode != "NOTSET" && mode != "VALID") unsupported("auto_pad = " + mode + " is not read");
    const AttributeMessage* a = find("pads");
    if (!a || mode == "VALID") return;
    if (a->integers.size() != 4) unsupported("pads must be four numbers: only images are read");
    begin = {a->integers[0], a->integers[1]};
    end = {a->integers[2], a->integers[3]};
  }
  void batch_norm() {
    must_be("training_mode", 0, 0);
    for (size_t k = 1; k < 5; ++k) constant(k);
    add(BatchNorm{number("epsilon", 1e-5f)}, {in(0), in(1), in(2), in(3), in(4)});
  }
  void clip() {
    auto limit = [&](size_t k, float usual) {
      if (!has(k)) return usual;
      const auto value = number_in(k);
      if (!value) unsupported("is read with bounds that are single numbers alone");
      return *value;
    };
    add(Unary{Function::kClip, limit(1, -INFINITY), limit(2, INFINITY)}, {in(0)});
  }
  template <bool lower>
  void bound() {  // by a constant
    for (size_t k = 0; k < 2 && node_->inputs.size() == 2; ++k) {
      if (const auto value = number_in(1 - k))
        return add(Unary{Function::kClip, lower ? *value : -INFINITY, lower ? INFINITY : *value}, {in(k)});
    }
    unsupported("is read with a number beside a map alone");
  }
  void hard_sigmoid() {
    const float slope = number("alpha", 0.2f), at_zero = number("beta", 0.5f);
    if (std::abs(slope - 1.0f / 6) < 1e-6f && at_zero == 0.5f)
      return add(Unary{Function::kHardSigmoid}, {in(0)});
    const int scaled = emit(".scaled", Mul{}, {in(0), scalar(".alpha", slope)});
    add(Unary{Function::kClip, 0, 1}, {emit(".moved", Add{}, {scaled, scalar(".beta", at_zero)})});
  }
  void softmax() {
    const Dims& x = dims(0);
    const int64_t along = axis(integer("axis", opset_ < 13 ? 1 : -1), x.size());
    const bool one_pixel = x.size() == 2 || (x.size() == 4 && x[2] * x[3] == 1);
    if (along != 1 || (opset_ < 13 && !one_pixel)) unsupported("is read over the channels alone");
    add(Unary{Function::kSoftmax}, {in(0)});
  }
  template <bool max>
  void pool() {
    if (pair("dilations", {1, 1}) != Pair{1, 1}) unsupported("is dilated");
    const Dims x = image(0);
    Pool op;
    op.max = max;
    op.kernel = pair("kernel_shape", {1, 1});
    op.stride = pair("strides", {1, 1});
    pads(x, op.kernel, op.stride, {1, 1}, op.pad_begin, op.pad_end);
    const bool counts =
        !max && integer("count_include_pad", 0) != 0 && (op.pad_begin != Pair{} || op.pad_end != Pair{});
    bool partial = false;
    if (integer("ceil_mode", 0) != 0) {
      for (int a = 0; a < 2; ++a) partial |= round_up(op, a, x[2 + a]);
    }
    if (!counts) return add(op, {in(0)});
    if (partial) unsupported("counts padding in windows that reach beyond it");
    Conv mean{op.kernel, op.stride, {1, 1}, op.pad_begin, op.pad_end, x[1]};
    const int64_t window = checked_window(op.kernel);
    Tensor weight{{x[1], 1, op.kernel[0], op.kernel[1]},
                  Floats(static_cast<size_t>(x[1] * window), 1.0f / static_cast<float>(window))};
    add(mean, {in(0), constant_value(node_->name + ".weight", std::move(weight))});
  }
  int64_t checked_window(Pair kernel) const {
    if (kernel[0] < 1 || kernel[1] < 1 || kernel[0] > 1024 || kernel[1] > 1024)
      corrupt("has a kernel out of range");
    return kernel[0] * kernel[1];
  }
  // One window more along the axis, if it begins inside, where the last pixels would be left out: its padding
  // grows.
  bool round_up(Pool& op, int a, int64_t size) const {
    checked_window(op.kernel);
    if (op.stride[a] < 1 || op.stride[a] > 1024 || op.pad_begin[a] < 0 || op.pad_end[a] < 0 ||
        op.pad_begin[a] > 1024 || op.pad_end[a] > 1024)
      corrupt("has a stride or padding out of range");
    const int64_t left = size + op.pad_begin[a] + op.pad_end[a] - op.kernel[a];
    if (left < 0 || left % op.stride[a] == 0) return false;
    const int64_t begin = (left / op.stride[a] + 1) * op.stride[a];
    if (begin >= size + op.pad_begin[a]) return false;
    op.pad_end[a] += begin - left;
    return true;
  }
  void global_max() {
    const Dims& x = image(0);
    add(Pool{true, {x[2], x[3]}}, {in(0)});
  }
  void reduce_mean() {
    const Dims x = dims(0);
    Ints over = axes(18).value_or(Ints());
    for (int64_t& a : over) a = axis(a, x.size());
    std::sort(over.begin(), over.end());
    if (!(x.size() == 4 && over == Ints{2, 3}) && !(x.size() == 3 && over == Ints{2}))
      unsupported("is read over all pixels of a map alone");
    if (integer("keepdims", 1) != 0) return add(GlobalAverage{}, {in(0)});
    add(Reshape{{0, x[1]}}, {emit(".mean", GlobalAverage{}, {in(0)})});
  }

  // A weight [in,out] turned, and times a number.
  int turned(const Tensor& given, bool turn, float factor) {
    if (given.dims.size() != 2) unsupported("its weight is of " + text(given.dims));
    const int64_t rows = given.dims[0], columns = given.dims[1];
    Tensor result{turn ? Dims{columns, rows} : given.dims, Floats(given.values.size(), 0.0f)};
    float* to = result.values.begin();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j)
        to[turn ? j * rows + i : i * columns + j] = factor * given.values[i * columns + j];
    }
    return constant_value(node_->name + ".weight", std::move(result));
  }
  void gemm() {
    must_be("transA", 0, 0);
    const float alpha = number("alpha", 1), beta = number("beta", 1);
    const bool turn = integer("transB", 0) == 0;
    const Tensor& given = constant(1);
    const int weight = turn || alpha != 1 ? turned(given, turn, alpha) : in(1);
    std::vector<int> inputs = {in(0), weight};
    if (has(2)) {
      if (dims_[weight].size() != 2) unsupported("its weight is of " + text(dims_[weight]));
      const int64_t outputs = dims_[weight][0];
      Tensor bias = constant(2);
      if (bias.values.size() == 1) bias.values = Floats(outputs, bias.values[0]);
      if (static_cast<int64_t>(bias.values.size()) != outputs || bias.dims.size() > 2 ||
          (bias.dims.size() == 2 && bias.dims[0] != 1))
        unsupported("adds " + text(bias.dims) + " to " + std::to_string(outputs) + " outputs");
      const bool same = bias.dims == Dims{outputs} && beta == 1;
      bias.dims = {outputs};
      if (beta != 1) {
        for (float& value : bias.values) value *= beta;
      }
      inputs.push_back(same ? in(2) : constant_value(node_->name + ".bias", std::move(bias)));
    }
    add(Linear{}, inputs);
  }
  void matmul() {
    if (dims(0).size() != 2) unsupported("is read for [N,C] alone, not " + text(dims(0)));
    add(Linear{}, {in(0), turned(constant(1), true, 1)});
  }
};

}  // namespace fewshift::graph::onnx
