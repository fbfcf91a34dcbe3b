// Who reads and writes what.
// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.h"

namespace fewshift::graph {

std::vector<int> count_readers(const Graph& graph) {
  std::vector<int> readers(graph.values.size(), 0);
  for (const Node& node : graph.nodes) {
    for (int v : node.inputs) ++readers[v];
  }
  ++readers[graph.output];
  return readers;
}

std::vector<int> find_writers(const Graph& graph) {
  std::vector<int> writers(graph.values.size(), -1);
  for (size_t k = 0; k < graph.nodes.size(); ++k) writers[graph.nodes[k].output] = static_cast<int>(k);
  return writers;
}

void drop_unused(Graph& graph) {
  std::vector<int> number(graph.values.size(), -1);
  auto use = [&](int v) { number[v] = 0; };
  use(graph.input), use(graph.output);
  for (const Node& node : graph.nodes) {
    for (int v : node.inputs) use(v);
    use(node.output);
  }
  std::vector<Value> kept;
  for (size_t v = 0; v < number.size(); ++v) {
    if (number[v] < 0) continue;
    number[v] = static_cast<int>(kept.size());
    kept.push_back(std::move(graph.values[v]));
  }
  graph.values = std::move(kept);
  graph.input = number[graph.input], graph.output = number[graph.output];
  for (Node& node : graph.nodes) {
    for (int& v : node.inputs) v = number[v];
    node.output = number[node.output];
  }
}

}  // namespace fewshift::graph
