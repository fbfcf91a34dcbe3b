// What dimensions every value has, and whether a graph makes sense at all.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/error.h"
#include "graph/graph.h"

namespace fewshift::graph {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;
constexpr int64_t kFarthest = int64_t{1} << 20;  // pixels: kernels, strides, dilations, padding

[[noreturn]] void refuse(const Node& node, const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "node " + node.name + " (" + kind(node.op) + ")", what);
}

// Of one node.
class Shape {
 public:
  Shape(const Node& node, const std::vector<Dims>& inputs) : node_(node), inputs_(inputs) {}

  Dims run() const {
    const Dims result = std::visit([&](const auto& op) { return of(op); }, node_.op);
    int64_t total = 1;
    for (int64_t dim : result) {
      if (dim < 1 || dim > kMostElements || (total *= dim) > kMostElements)
        refuse(node_, "would be of size " + text(result));
    }
    return result;
  }

 private:
  void inputs(size_t least, size_t most) const {
    if (inputs_.size() < least || inputs_.size() > most)
      refuse(node_, "has " + std::to_string(inputs_.size()) + " inputs");
  }
  const Dims& in(size_t k) const { return inputs_[k]; }
  const Dims& in(size_t k, size_t rank) const {
    if (in(k).size() != rank) {
      refuse(node_, "input " + std::to_string(k) + " is " + text(in(k)) + ", not of " + std::to_string(rank) +
                        " dimensions");
    }
    return in(k);
  }
  void vector(size_t k, int64_t length) const {
    if (in(k, 1)[0] != length) {
      refuse(node_, "input " + std::to_string(k) + " is of length " + text(in(k)) + ", not " +
                        std::to_string(length));
    }
  }
  // Places of a window of `kernel` along an axis of `size`.
  int64_t windows(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t before,
                  int64_t behind) const {
    if (kernel < 1 || stride < 1 || dilation < 1 || kernel > kFarthest || stride > kFarthest ||
        dilation > kFarthest || before < 0 || behind < 0 || before > kFarthest || behind > kFarthest)
      refuse(node_, "has a kernel, stride, dilation or padding out of range");
    const int64_t left = size + before + behind - (dilation * (kernel - 1) + 1);
    if (left < 0) refuse(node_, "its kernel is larger than its input, " + text(in(0)));
    return left / stride + 1;
  }

  Dims of(const Conv& op) const {
    inputs(op.adds ? 4 : 2, op.adds ? 4 : 3);
    const Dims &x = in(0, 4), &w = in(1, 4);
    if (op.groups < 1 || x[1] % op.groups || w[0] % op.groups || w[1] != x[1] / op.groups ||
        w[2] != op.kernel[0] || w[3] != op.kernel[1])
      refuse(node_, "its weight of " + text(w) + " does not fit an input of " + text(x) + " in " +
                        std::to_string(op.groups) + " groups");
    if (inputs_.size() >= 3) vector(2, w[0]);
    Dims y = {x[0], w[0], 0, 0};
    for (int a = 0; a < 2; ++a) {
      y[2 + a] =
          windows(x[2 + a], op.kernel[a], op.stride[a], op.dilation[a], op.pad_begin[a], op.pad_end[a]);
    }
    if (op.adds && in(3) != y) refuse(node_, "adds " + text(in(3)) + " to " + text(y));
    return y;
  }
  Dims of(const Shift& op) const {
    inputs(1, 1);
    const Dims& x = in(0, 4);
    if (static_cast<int64_t>(op.moves.size()) != x[1] || op.stride < 1 || op.stride > kFarthest)
      refuse(node_, "has not a move a channel");
    return {x[0], x[1], (x[2] + op.stride - 1) / op.stride, (x[3] + op.stride - 1) / op.stride};
  }
  Dims of(const BatchNorm&) const {
    inputs(5, 5);
    if (in(0).size() < 2) refuse(node_, "its input has no channels");
    for (size_t k = 1; k < 5; ++k) vector(k, in(0)[1]);
    return in(0);
  }
  Dims of(const Unary&) const {
    inputs(1, 1);
    return in(0);
  }
  Dims broadcast() const {
    inputs(2, 2);
    const size_t rank = std::max(in(0).size(), in(1).size());
    Dims y(rank);
    for (size_t k = 0; k < rank; ++k) {
      auto dim = [&](const Dims& d) { return k + d.size() < rank ? 1 : d[k + d.size() - rank]; };
      const int64_t a = dim(in(0)), b = dim(in(1));
      if (a != b && a != 1 && b != 1) refuse(node_, text(in(0)) + " and " + text(in(1)) + " do not fit");
      y[k] = std::max(a, b);
    }
    return y;
  }
  Dims of(const Add&) const { return broadcast(); }
  Dims of(const Mul&) const { return broadcast(); }
  Dims of(const Pool& op) const {
    inputs(1, 1);
    Dims y = in(0, 4);
    for (int a = 0; a < 2; ++a) {
      if (op.pad_begin[a] >= op.kernel[a] || op.pad_end[a] >= op.kernel[a])
        refuse(node_, "is padded by more than its kernel");
      y[2 + a] = windows(y[2 + a], op.kernel[a], op.stride[a], 1, op.pad_begin[a], op.pad_end[a]);
    }
    return y;
  }
  Dims of(const GlobalAverage&) const {
    inputs(1, 1);
    if (in(0).size() == 3) return {in(0)[0], in(0)[1], 1};
    return {in(0, 4)[0], in(0)[1], 1, 1};
  }
  Dims of(const Linear&) const {
    inputs(2, 3);
    const Dims &x = in(0, 2), &w = in(1, 2);
    if (w[1] != x[1]) refuse(node_, "its weight of " + text(w) + " does not fit an input of " + text(x));
    if (inputs_.size() == 3) vector(2, w[0]);
    return {x[0], w[0]};
  }
  void axis(int64_t axis) const {
    if (axis < 0 || axis >= static_cast<int64_t>(in(0).size())) refuse(node_, "has an axis out of range");
  }
  Dims of(const Concat& op) const {
    inputs(1, 1024);
    axis(op.axis);
    Dims y = in(0);
    for (size_t k = 1; k < inputs_.size(); ++k) {
      Dims other = in(k);
      if (other.size() != y.size()) refuse(node_, "joins values of different rank");
      y[op.axis] += other[op.axis];
      other[op.axis] = y[op.axis];
      if (other != y) refuse(node_, text(in(0)) + " and " + text(in(k)) + " do not fit");
    }
    return y;
  }
  Dims of(const Slice& op) const {
    inputs(1, 1);
    axis(op.axis);
    Dims y = in(0);
    const int64_t end = std::min(op.end, y[op.axis]);
    if (op.begin < 0 || op.begin >= end || op.step < 1 || op.step > kMostElements)
      refuse(node_, "takes nothing of " + text(y));
    y[op.axis] = (end - op.begin + op.step - 1) / op.step;
    return y;
  }
  Dims of(const Pad& op) const {
    inputs(1, 1);
    Dims y = in(0);
    if (op.before.size() != y.size() || op.behind.size() != y.size())
      refuse(node_, "has not two pads an axis");
    for (size_t k = 0; k < y.size(); ++k) {
      if (op.before[k] < 0 || op.behind[k] < 0 || op.before[k] > kMostElements ||
          op.behind[k] > kMostElements)
        refuse(node_, "has a pad out of range");
      y[k] += op.before[k] + op.behind[k];
    }
    return y;
  }
  Dims of(const Reshape& op) const {
    inputs(1, 1);
    const std::optional<Dims> y = reshaped(in(0), op.dims);
    if (!y) refuse(node_, "cannot make " + text(op.dims) + " of " + text(in(0)));
    return *y;
  }
  Dims of(const Transpose& op) const {
    inputs(1, 1);
    if (!is_permutation(op.order, in(0).size())) refuse(node_, "its order does not name each axis once");
    Dims y;
    for (int64_t axis : op.order) y.push_back(in(0)[axis]);
    return y;
  }

  const Node& node_;
  const std::vector<Dims>& inputs_;
};

}  // namespace

std::optional<Dims> reshaped(const Dims& from, Dims sizes, bool zero_copies) {
  int64_t product = 1, open = -1;
  for (size_t k = 0; k < sizes.size(); ++k) {
    if (sizes[k] == 0 && zero_copies && k < from.size()) sizes[k] = from[k];
    if (sizes[k] == -1 && open < 0) {
      open = static_cast<int64_t>(k);
    } else if (sizes[k] < 1 || sizes[k] > kMostElements || (product *= sizes[k]) > kMostElements) {
      return {};
    }
  }
  if (open >= 0) sizes[open] = elements(from) / product;
  return elements(sizes) == elements(from) ? std::optional(sizes) : std::nullopt;
}

bool is_permutation(const std::vector<int64_t>& order, size_t axes) {
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  bool each = sorted.size() == axes;
  for (size_t k = 0; each && k < axes; ++k) each = sorted[k] == static_cast<int64_t>(k);
  return each;
}

Dims infer_shape(const Node& node, const std::vector<Dims>& inputs) {
  return Shape(node, inputs).run();
}

std::vector<Dims> infer_shapes(const Graph& graph, const Dims& input) {
  std::vector<Dims> dims(graph.values.size());
  std::vector<char> known(dims.size(), false);
  auto inside = [&](int v) { return v >= 0 && v < static_cast<int>(dims.size()); };
  if (!inside(graph.input)) throw Error(ErrorCode::kCorrupt, "the graph", "has no input");
  for (size_t v = 0; v < dims.size(); ++v) {
    const auto& constant = graph.values[v].constant;
    if (!constant) continue;
    if (elements(constant->dims) != static_cast<int64_t>(constant->values.size()))
      throw Error(ErrorCode::kCorrupt, "constant " + graph.values[v].name,
                  "has not as many values as its dimensions say");
    dims[v] = constant->dims;
    known[v] = true;
  }
  if (!std::all_of(input.begin(), input.end(), [](int64_t dim) { return dim > 0; }))
    throw Error(ErrorCode::kUnsupported, "input " + graph.values[graph.input].name,
                "is " + text(input) + ": its sizes must be known");
  dims[graph.input] = input;
  known[graph.input] = true;
  for (const Node& node : graph.nodes) {
    std::vector<Dims> inputs;
    for (int v : node.inputs) {
      if (!inside(v) || !known[v]) refuse(node, "reads a value that is not there yet");
      inputs.push_back(dims[v]);
    }
    if (!inside(node.output) || known[node.output]) refuse(node, "writes a value that is there already");
    dims[node.output] = infer_shape(node, inputs);
    known[node.output] = true;
  }
  if (!inside(graph.output) || !known[graph.output])
    throw Error(ErrorCode::kCorrupt, "the graph", "nothing computes its output");
  return dims;
}

}  // namespace fewshift::graph
