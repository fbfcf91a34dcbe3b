// What dimensions every value has, and whether a graph makes sense at all.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/error.h"
#include "graph/graph.h"

namespace fewshift::graph {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;

[[noreturn]] void refuse(const Node& node, const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "node " + node.name + " (" + kind(node.op) + ")", what);
}

class Shapes {
 public:
  Shapes(const Graph& graph, const Dims& input)
      : graph_(graph), dims_(graph.values.size()), known_(dims_.size()) {
    for (size_t v = 0; v < dims_.size(); ++v) {
      if (!graph.values[v].constant) continue;
      dims_[v] = graph.values[v].constant->dims;
      known_[v] = true;
    }
    dims_.at(graph.input) = input;
    known_[graph.input] = true;
  }

  std::vector<Dims> run() {
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      for (int v : node.inputs) {
        if (v < 0 || v >= static_cast<int>(dims_.size()) || !known_[v])
          refuse(node, "reads a value that is not there yet");
      }
      if (node.output < 0 || node.output >= static_cast<int>(dims_.size()) || known_[node.output])
        refuse(node, "writes a value that is there already");
      const Dims result = std::visit([&](const auto& op) { return of(op); }, node.op);
      int64_t total = 1;
      for (int64_t dim : result) {
        if (dim < 1 || dim > kMostElements || (total *= dim) > kMostElements) {
          refuse(node, "would be of size " + text(result));
        }
      }
      dims_[node.output] = result;
      known_[node.output] = true;
    }
    if (graph_.output < 0 || graph_.output >= static_cast<int>(dims_.size()) || !known_[graph_.output])
      throw Error(ErrorCode::kCorrupt, "the graph", "nothing computes its output");
    return std::move(dims_);
  }

 private:
  void inputs(size_t least, size_t most) const {
    if (node_->inputs.size() < least || node_->inputs.size() > most) {
      refuse(*node_, "has " + std::to_string(node_->inputs.size()) + " inputs");
    }
  }
  const Dims& in(size_t k) const { return dims_[node_->inputs[k]]; }
  const Dims& in(size_t k, size_t rank) const {
    if (in(k).size() != rank) {
      refuse(*node_, "input " + std::to_string(k) + " is " + text(in(k)) + ", not of " +
                         std::to_string(rank) + " dimensions");
    }
    return in(k);
  }
  void vector(size_t k, int64_t length) const {
    if (in(k, 1)[0] != length) {
      refuse(*node_, "input " + std::to_string(k) + " is of length " + text(in(k)) + ", not " +
                         std::to_string(length));
    }
  }
  // Places of a window of `kernel` along an axis of `size`.
  int64_t windows(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t pads) const {
    if (kernel < 1 || stride < 1 || dilation < 1 || pads < 0 || kernel > (1 << 20) || dilation > (1 << 20))
      refuse(*node_, "has a kernel, stride, dilation or padding out of range");
    const int64_t left = size + pads - (dilation * (kernel - 1) + 1);
    if (left < 0) refuse(*node_, "its kernel is larger than its input, " + text(in(0)));
    return left / stride + 1;
  }

  Dims of(const Conv& op) {
    inputs(op.adds ? 4 : 2, op.adds ? 4 : 3);
    const Dims &x = in(0, 4), &w = in(1, 4);
    if (op.groups < 1 || x[1] % op.groups || w[0] % op.groups || w[1] != x[1] / op.groups ||
        w[2] != op.kernel[0] || w[3] != op.kernel[1])
      refuse(*node_, "its weight of " + text(w) + " does not fit an input of " + text(x) + " in " +
                         std::to_string(op.groups) + " groups");
    if (node_->inputs.size() >= 3) vector(2, w[0]);
    Dims y = {x[0], w[0], 0, 0};
    for (int a = 0; a < 2; ++a) {
      y[2 + a] =
          windows(x[2 + a], op.kernel[a], op.stride[a], op.dilation[a], op.pad_begin[a] + op.pad_end[a]);
    }
    if (op.adds && in(3) != y) refuse(*node_, "adds " + text(in(3)) + " to " + text(y));
    return y;
  }
  Dims of(const Shift& op) {
    inputs(1, 1);
    const Dims& x = in(0, 4);
    if (static_cast<int64_t>(op.moves.size()) != x[1] || op.stride < 1)
      refuse(*node_, "has not a move a channel");
    return {x[0], x[1], (x[2] + op.stride - 1) / op.stride, (x[3] + op.stride - 1) / op.stride};
  }
  Dims of(const BatchNorm&) {
    inputs(5, 5);
    if (in(0).size() < 2) refuse(*node_, "its input has no channels");
    for (size_t k = 1; k < 5; ++k) vector(k, in(0)[1]);
    return in(0);
  }
  Dims of(const Unary&) {
    inputs(1, 1);
    return in(0);
  }
  Dims broadcast() {
    inputs(2, 2);
    const size_t rank = std::max(in(0).size(), in(1).size());
    Dims y(rank);
    for (size_t k = 0; k < rank; ++k) {
      auto dim = [&](const Dims& d) { return k + d.size() < rank ? 1 : d[k + d.size() - rank]; };
      const int64_t a = dim(in(0)), b = dim(in(1));
      if (a != b && a != 1 && b != 1) refuse(*node_, text(in(0)) + " and " + text(in(1)) + " do not fit");
      y[k] = std::max(a, b);
    }
    return y;
  }
  Dims of(const Add&) { return broadcast(); }
  Dims of(const Mul&) { return broadcast(); }
  Dims of(const Pool& op) {
    inputs(1, 1);
    Dims y = in(0, 4);
    for (int a = 0; a < 2; ++a) {
      if (op.pad_begin[a] >= op.kernel[a] || op.pad_end[a] >= op.kernel[a])
        refuse(*node_, "is padded by more than its kernel");
      y[2 + a] = windows(y[2 + a], op.kernel[a], op.stride[a], 1, op.pad_begin[a] + op.pad_end[a]);
    }
    return y;
  }
  Dims of(const GlobalAverage&) {
    inputs(1, 1);
    return {in(0, 4)[0], in(0)[1], 1, 1};
  }
  Dims of(const Linear&) {
    inputs(2, 3);
    const Dims &x = in(0, 2), &w = in(1, 2);
    if (w[1] != x[1]) refuse(*node_, "its weight of " + text(w) + " does not fit an input of " + text(x));
    if (node_->inputs.size() == 3) vector(2, w[0]);
    return {x[0], w[0]};
  }
  void axis(int64_t axis) const {
    if (axis < 0 || axis >= static_cast<int64_t>(in(0).size())) refuse(*node_, "has an axis out of range");
  }
  Dims of(const Concat& op) {
    inputs(1, 1024);
    axis(op.axis);
    Dims y = in(0);
    for (size_t k = 1; k < node_->inputs.size(); ++k) {
      Dims other = in(k);
      if (other.size() != y.size()) refuse(*node_, "joins values of different rank");
      y[op.axis] += other[op.axis];
      other[op.axis] = y[op.axis];
      if (other != y) refuse(*node_, text(in(0)) + " and " + text(in(k)) + " do not fit");
    }
    return y;
  }
  Dims of(const Slice& op) {
    inputs(1, 1);
    axis(op.axis);
    Dims y = in(0);
    const int64_t end = std::min(op.end, y[op.axis]);
    if (op.begin < 0 || op.begin >= end || op.step < 1) refuse(*node_, "takes nothing of " + text(y));
    y[op.axis] = (end - op.begin + op.step - 1) / op.step;
    return y;
  }
  Dims of(const Pad& op) {
    inputs(1, 1);
    Dims y = in(0);
    if (op.before.size() != y.size() || op.behind.size() != y.size())
      refuse(*node_, "has not two pads an axis");
    for (size_t k = 0; k < y.size(); ++k) {
      if (op.before[k] < 0 || op.behind[k] < 0 || op.before[k] > kMostElements ||
          op.behind[k] > kMostElements)
        refuse(*node_, "has a pad out of range");
      y[k] += op.before[k] + op.behind[k];
    }
    return y;
  }
  Dims of(const Reshape& op) {
    inputs(1, 1);
    Dims y = op.dims;
    int64_t product = 1, open = -1;
    for (size_t k = 0; k < y.size(); ++k) {
      if (y[k] == 0 && k < in(0).size()) y[k] = in(0)[k];
      if (y[k] == -1 && open < 0) {
        open = static_cast<int64_t>(k);
        continue;
      }
      if (y[k] < 1 || y[k] > kMostElements || (product *= y[k]) > kMostElements)
        refuse(*node_, "cannot make " + text(op.dims) + " of " + text(in(0)));
    }
    if (open >= 0) y[open] = elements(in(0)) / product;
    if (elements(y) != elements(in(0))) refuse(*node_, "cannot make " + text(op.dims) + " of " + text(in(0)));
    return y;
  }
  Dims of(const Transpose& op) {
    inputs(1, 1);
    std::vector<int64_t> sorted = op.order;
    std::sort(sorted.begin(), sorted.end());
    Dims y;
    for (size_t k = 0; k < in(0).size(); ++k) {
      if (sorted.size() != in(0).size() || sorted[k] != static_cast<int64_t>(k))
        refuse(*node_, "its order does not name each axis once");
      y.push_back(in(0)[op.order[k]]);
    }
    return y;
  }

  const Graph& graph_;
  std::vector<Dims> dims_;
  std::vector<char> known_;
  const Node* node_ = nullptr;
};

}  // namespace

std::vector<Dims> infer_shapes(const Graph& graph, const Dims& input) {
  if (graph.input < 0 || graph.input >= static_cast<int>(graph.values.size()))
    throw Error(ErrorCode::kCorrupt, "the graph", "has no input");
  for (const Value& value : graph.values) {
    if (value.constant &&
        elements(value.constant->dims) != static_cast<int64_t>(value.constant->values.size()))
      throw Error(ErrorCode::kCorrupt, "constant " + value.name,
                  "has not as many values as its dimensions say");
  }
  return Shapes(graph, input).run();
}

}  // namespace fewshift::graph
