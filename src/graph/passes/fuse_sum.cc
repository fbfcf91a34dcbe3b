// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.h"

namespace fewshift::graph {

void fuse_sum(Graph& graph) {
  Dims input = graph.input_dims;
  input[0] = 1;
  const std::vector<Dims> dims = infer_shapes(graph, input);
  const auto readers = count_readers(graph);
  const auto writers = find_writers(graph);
  std::vector<char> gone(graph.nodes.size(), false);
  for (Node& node : graph.nodes) {
    if (!std::holds_alternative<Add>(node.op)) continue;
    const std::vector<int> summands = node.inputs;
    for (int side : {1, 0}) {
      const int product = summands[side], other = summands[1 - side], writer = writers[product];
      if (writer < 0 || gone[writer] || readers[product] != 1 || dims[product] != dims[other]) continue;
      const Node& conv = graph.nodes[writer];
      const auto* op = std::get_if<Conv>(&conv.op);
      if (!op || op->adds || op->clamps()) continue;
      // In the sum's place, where both are there.
      Conv adding = *op;
      adding.adds = true;
      node.op = adding;
      node.name = conv.name;
      node.inputs = conv.inputs;
      if (node.inputs.size() == 2)
        node.inputs.push_back(graph.add_value(
            conv.name + ".bias", Tensor{{dims[product][1]}, std::vector<float>(dims[product][1], 0.0f)}));
      node.inputs.push_back(other);
      gone[writer] = true;
      break;
    }
  }
  std::vector<Node> kept;
  for (size_t k = 0; k < graph.nodes.size(); ++k) {
    if (!gone[k]) kept.push_back(std::move(graph.nodes[k]));
  }
  graph.nodes = std::move(kept);
  drop_unused(graph);
}

}  // namespace fewshift::graph
