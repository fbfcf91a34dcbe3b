// SPDX-License-Identifier: Apache-2.0
#include "train/torch_graph.h"

#include <limits>

namespace fewshift {
namespace {

using graph::Node;
using torch::Tensor;
namespace F = torch::nn::functional;

class Computation {
 public:
  explicit Computation(const graph::Graph& graph) : graph_(graph), values_(graph.values.size()) {
    for (size_t v = 0; v < values_.size(); ++v) {
      if (const auto& constant = graph.values[v].constant)
        values_[v] =
            torch::from_blob(const_cast<float*>(constant->values.data()), constant->dims, torch::kFloat)
                .clone();
    }
  }

  Tensor run(const Tensor& x) {
    values_[graph_.input] = x;
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      values_[node.output] = std::visit([&](const auto& op) { return of(op); }, node.op);
    }
    return values_[graph_.output];
  }

 private:
  Tensor in(size_t k) const { return k < node_->inputs.size() ? values_[node_->inputs[k]] : Tensor(); }
  // Rows and columns before and behind, filled with `value`; negative: cut off.
  static Tensor padded(const Tensor& x, graph::Pair before, graph::Pair behind, double value = 0) {
    return F::pad(x, F::PadFuncOptions({before[1], behind[1], before[0], behind[0]}).value(value));
  }

  Tensor of(const graph::Conv& op) {
    Tensor y = torch::conv2d(padded(in(0), op.pad_begin, op.pad_end), in(1), in(2), op.stride,
                             at::IntArrayRef{0, 0}, op.dilation, op.groups);
    if (op.adds) y = y + in(3);
    return op.clamps() ? y.clamp(op.low, op.high) : y;
  }
  Tensor of(const graph::Shift& op) {
    const Tensor x = in(0);
    std::vector<Tensor> channels;
    for (size_t c = 0; c < op.moves.size(); ++c) {
      const int64_t dy = std::clamp<int64_t>(op.moves[c][0], -x.size(2), x.size(2)),
                    dx = std::clamp<int64_t>(op.moves[c][1], -x.size(3), x.size(3));
      const Tensor moved = padded(x.narrow(1, static_cast<int64_t>(c), 1), {-dy, -dx}, {dy, dx});
      channels.push_back(moved.slice(2, 0, x.size(2), op.stride).slice(3, 0, x.size(3), op.stride));
    }
    return torch::cat(channels, 1);
  }
  Tensor of(const graph::BatchNorm& op) {
    return torch::batch_norm(in(0), in(1), in(2), in(3), in(4), false, 0, op.epsilon, false);
  }
  Tensor of(const graph::Unary& op) {
    switch (op.function) {
      case graph::Function::kRelu:
        return in(0).relu();
      case graph::Function::kClip:
        return in(0).clamp(op.low, op.high);
      case graph::Function::kSigmoid:
        return in(0).sigmoid();
      case graph::Function::kErf:
        return in(0).erf();
      case graph::Function::kGelu:
        return torch::gelu(in(0));
      case graph::Function::kHardSigmoid:
        return torch::hardsigmoid(in(0));
      case graph::Function::kHardSwish:
        return torch::hardswish(in(0));
      case graph::Function::kSwish:
        return torch::silu(in(0));
      case graph::Function::kSoftmax:
        return torch::softmax(in(0), 1);
    }
    return in(0);
  }
  Tensor of(const graph::Add&) { return in(0) + in(1); }
  Tensor of(const graph::Mul&) { return in(0) * in(1); }
  Tensor of(const graph::Pool& op) {
    if (op.max) {
      const Tensor x = padded(in(0), op.pad_begin, op.pad_end, -std::numeric_limits<double>::infinity());
      return torch::max_pool2d(x, op.kernel, op.stride);
    }
    const Tensor sum = torch::avg_pool2d(padded(in(0), op.pad_begin, op.pad_end), op.kernel, op.stride);
    const Tensor ones = torch::ones({1, 1, in(0).size(2), in(0).size(3)});
    return sum / torch::avg_pool2d(padded(ones, op.pad_begin, op.pad_end), op.kernel, op.stride);
  }
  Tensor of(const graph::GlobalAverage&) { return in(0).mean({2, 3}, true); }
  Tensor of(const graph::Linear&) { return torch::linear(in(0), in(1), in(2)); }
  Tensor of(const graph::Concat& op) {
    std::vector<Tensor> parts;
    for (size_t k = 0; k < node_->inputs.size(); ++k) parts.push_back(in(k));
    return torch::cat(parts, op.axis);
  }
  Tensor of(const graph::Slice& op) {
    return in(0).slice(op.axis, op.begin, std::min(op.end, in(0).size(op.axis)), op.step);
  }
  Tensor of(const graph::Pad& op) {
    std::vector<int64_t> pads;  // the last axis first
    for (size_t k = op.before.size(); k-- > 0;) pads.insert(pads.end(), {op.before[k], op.behind[k]});
    return torch::constant_pad_nd(in(0), pads, 0);
  }
  Tensor of(const graph::Reshape& op) {
    std::vector<int64_t> dims = op.dims;
    for (size_t k = 0; k < dims.size(); ++k) {
      if (dims[k] == 0) dims[k] = in(0).size(static_cast<int64_t>(k));
    }
    return in(0).reshape(dims);
  }
  Tensor of(const graph::Transpose& op) { return in(0).permute(op.order); }

  const graph::Graph& graph_;
  std::vector<Tensor> values_;
  const Node* node_ = nullptr;
};

}  // namespace

torch::Tensor compute_with_torch(const graph::Graph& graph, const torch::Tensor& x) {
  torch::NoGradGuard no_grad;
  return Computation(graph).run(x).contiguous();
}

}  // namespace fewshift
