// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

// The constant behind an input of a node, or nullptr.
const Tensor* constant(const Graph& graph, const Node& node, size_t input) {
  if (input >= node.inputs.size()) return nullptr;
  const auto& value = graph.values[node.inputs[input]].constant;
  return value ? &*value : nullptr;
}

bool foldable(const Graph& graph, const Node& conv, const Node& norm) {
  for (size_t k = 1; k < conv.inputs.size(); ++k) {
    if (!constant(graph, conv, k)) return false;
  }
  for (size_t k = 1; k < 5; ++k) {
    if (!constant(graph, norm, k)) return false;
  }
  return true;
}

void fold(Graph& graph, Node& conv, const Node& norm) {
  const Tensor &scale = *constant(graph, norm, 1), &shift = *constant(graph, norm, 2),
               &mean = *constant(graph, norm, 3), &variance = *constant(graph, norm, 4);
  const float epsilon = std::get<BatchNorm>(norm.op).epsilon;
  Tensor weight = *constant(graph, conv, 1);
  const int64_t outputs = weight.dims[0];
  const auto each = weight.values.size() / outputs;
  Tensor bias{{outputs}, std::vector<float>(outputs, 0.0f)};
  if (conv.inputs.size() == 3) bias = *constant(graph, conv, 2);
  for (int64_t o = 0; o < outputs; ++o) {
    const double factor = scale.values[o] / std::sqrt(double(variance.values[o]) + epsilon);
    for (size_t k = 0; k < each; ++k) {
      float& value = weight.values[o * each + k];
      value = static_cast<float>(value * factor);
    }
    bias.values[o] = static_cast<float>((double(bias.values[o]) - mean.values[o]) * factor + shift.values[o]);
  }
  conv.inputs = {conv.inputs[0], graph.add_value(graph.values[conv.inputs[1]].name, std::move(weight)),
                 graph.add_value(conv.name + ".bias", std::move(bias))};
}

}  // namespace

void fold_batch_norm(Graph& graph) {
  merge_into_convs(graph, [&](Node& conv, const Node& node) {
    const Conv& op = std::get<Conv>(conv.op);
    if (!std::holds_alternative<BatchNorm>(node.op) || op.adds || op.clamps() || !foldable(graph, conv, node))
      return false;
    fold(graph, conv, node);
    return true;
  });
}

}  // namespace fewshift::graph
