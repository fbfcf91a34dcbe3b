// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.h"

namespace fewshift::graph {

void fuse_activation(Graph& graph) {
  const auto readers = count_readers(graph);
  const auto writers = find_writers(graph);
  std::vector<Node> kept;
  std::vector<int> place(graph.nodes.size(), -1);  // of a node among those kept
  for (size_t k = 0; k < graph.nodes.size(); ++k) {
    const Node& node = graph.nodes[k];
    const auto* unary = std::get_if<Unary>(&node.op);
    if (unary && (unary->function == Function::kRelu || unary->function == Function::kClip)) {
      const int before = writers[node.inputs[0]];
      Node* conv = before >= 0 ? &kept[place[before]] : nullptr;
      if (conv && std::holds_alternative<Conv>(conv->op) && readers[node.inputs[0]] == 1 &&
          !std::get<Conv>(conv->op).clamps()) {
        Conv& op = std::get<Conv>(conv->op);
        op.low = unary->function == Function::kRelu ? 0 : unary->low;
        if (unary->function == Function::kClip) op.high = unary->high;
        conv->output = node.output;
        place[k] = place[before];
        continue;
      }
    }
    place[k] = static_cast<int>(kept.size());
    kept.push_back(node);
  }
  graph.nodes = std::move(kept);
  drop_unused(graph);
}

}  // namespace fewshift::graph
