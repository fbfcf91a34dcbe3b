// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.h"

namespace fewshift::graph {

void fuse_pad(Graph& graph) {
  const auto writers = find_writers(graph);
  for (Node& node : graph.nodes) {
    auto* conv = std::get_if<Conv>(&node.op);
    const int writer = conv ? writers[node.inputs[0]] : -1;
    const auto* pad = writer < 0 ? nullptr : std::get_if<Pad>(&graph.nodes[writer].op);
    if (!pad || pad->before.size() != 4) continue;
    if (pad->before[0] || pad->before[1] || pad->behind[0] || pad->behind[1]) continue;
    for (int a = 0; a < 2; ++a) {
      conv->pad_begin[a] += pad->before[2 + a];
      conv->pad_end[a] += pad->behind[2 + a];
    }
    node.inputs[0] = graph.nodes[writer].inputs[0];
  }
  drop_unread(graph);
}

}  // namespace fewshift::graph
