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

void merge_into_convs(Graph& graph, const std::function<bool(Node& conv, const Node& node)>& merge) {
  const auto readers = count_readers(graph);
  const auto writers = find_writers(graph);
  std::vector<Node> kept;
  std::vector<int> place(graph.nodes.size());  // of a node, or of what it went into, among those kept
  for (size_t k = 0; k < graph.nodes.size(); ++k) {
    const Node node = graph.nodes[k];
    const int before = node.inputs.empty() ? -1 : writers[node.inputs[0]];
    if (before >= 0 && readers[node.inputs[0]] == 1) {
      Node& conv = kept[place[before]];
      if (std::holds_alternative<Conv>(conv.op) && merge(conv, node)) {
        conv.output = node.output;
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

void drop_unread(Graph& graph) {
  std::vector<int> readers = count_readers(graph);
  std::vector<char> read(graph.nodes.size(), true);
  for (size_t k = graph.nodes.size(); k-- > 0;) {
    read[k] = readers[graph.nodes[k].output] > 0;
    for (int v : graph.nodes[k].inputs) readers[v] -= !read[k];
  }
  std::vector<Node> kept;
  for (size_t k = 0; k < graph.nodes.size(); ++k) {
    if (read[k]) kept.push_back(std::move(graph.nodes[k]));
  }
  graph.nodes = std::move(kept);
  drop_unused(graph);
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
