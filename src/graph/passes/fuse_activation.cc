// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.h"

namespace fewshift::graph {

void fuse_activation(Graph& graph) {
  merge_into_convs(graph, [](Node& conv, const Node& node) {
    const auto* unary = std::get_if<Unary>(&node.op);
    Conv& op = std::get<Conv>(conv.op);
    if (!unary || op.clamps()) return false;
    if (unary->function == Function::kClip) {
      op.low = unary->low, op.high = unary->high;
    } else if (unary->function == Function::kRelu) {
      op.low = 0;
    } else {
      return false;
    }
    return true;
  });
}

}  // namespace fewshift::graph
