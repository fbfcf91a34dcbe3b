// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>

#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

// If the node combines one value with the constant `number`, that value.
template <class Op>
std::optional<int> with_constant(const Graph& graph, const Node& node, double number) {
  if (!std::holds_alternative<Op>(node.op)) return {};
  for (int k = 0; k < 2; ++k) {
    const auto& constant = graph.values[node.inputs[k]].constant;
    if (constant && constant->values.size() == 1 && std::abs(constant->values[0] - number) < 1e-6)
      return node.inputs[1 - k];
  }
  return {};
}

}  // namespace

void recognise_gelu(Graph& graph) {
  const auto writers = find_writers(graph);
  auto writer = [&](int v) -> const Node* { return writers[v] < 0 ? nullptr : &graph.nodes[writers[v]]; };
  for (Node& last : graph.nodes) {
    const auto product = with_constant<Mul>(graph, last, 0.5);
    const Node* times = product ? writer(*product) : nullptr;
    if (!times || !std::holds_alternative<Mul>(times->op)) continue;
    for (int k = 0; k < 2; ++k) {
      const int x = times->inputs[k];
      const Node* raised = writer(times->inputs[1 - k]);
      const auto erf_value = raised ? with_constant<Add>(graph, *raised, 1.0) : std::nullopt;
      const Node* erf = erf_value ? writer(*erf_value) : nullptr;
      if (!erf || !std::holds_alternative<Unary>(erf->op) ||
          std::get<Unary>(erf->op).function != Function::kErf)
        continue;
      const Node* scaled = writer(erf->inputs[0]);
      if (!scaled || with_constant<Mul>(graph, *scaled, std::sqrt(0.5)) != std::optional(x)) continue;
      last.op = Unary{Function::kGelu};
      last.inputs = {x};
      break;
    }
  }
  // What led to it is read by nothing any more.
  for (size_t k = graph.nodes.size(); k-- > 0;) {
    if (count_readers(graph)[graph.nodes[k].output] == 0)
      graph.nodes.erase(graph.nodes.begin() + static_cast<long>(k));
  }
  drop_unused(graph);
}

}  // namespace fewshift::graph
