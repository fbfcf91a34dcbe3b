// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

constexpr int32_t kBeyond = 1 << 20;  // sees nothing of any map

std::optional<Shift> as_shift(const Conv& conv, const Tensor& weight) {
  if (weight.dims[0] != conv.groups || weight.dims[1] != 1 || conv.dilation != Pair{1, 1} ||
      conv.stride[0] != conv.stride[1])
    return {};
  for (int a = 0; a < 2; ++a) {  // as many outputs as a shift has
    if (conv.pad_begin[a] + conv.pad_end[a] != conv.kernel[a] - 1) return {};
  }
  Shift shift;
  shift.stride = conv.stride[0];
  const int64_t each = conv.kernel[0] * conv.kernel[1];
  for (int64_t c = 0; c < conv.groups; ++c) {
    std::array<int32_t, 2> move = {kBeyond, kBeyond};
    for (int64_t k = 0; k < each; ++k) {
      const float value = weight.values[c * each + k];
      if (value == 0) continue;
      if (value != 1 || move[0] != kBeyond) return {};
      move = {static_cast<int32_t>(k / conv.kernel[1] - conv.pad_begin[0]),
              static_cast<int32_t>(k % conv.kernel[1] - conv.pad_begin[1])};
    }
    shift.moves.push_back(move);
  }
  return shift;
}

}  // namespace

void recognise_shift(Graph& graph) {
  for (Node& node : graph.nodes) {
    const auto* conv = std::get_if<Conv>(&node.op);
    if (!conv || node.inputs.size() != 2 || !graph.values[node.inputs[1]].constant) continue;
    if (auto shift = as_shift(*conv, *graph.values[node.inputs[1]].constant)) {
      node.op = std::move(*shift);
      node.inputs = {node.inputs[0]};
    }
  }
  drop_unused(graph);
}

}  // namespace fewshift::graph
