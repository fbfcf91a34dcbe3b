// Runs a graph, plainly: the oracle that everything faster is held against.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "graph/graph.h"

namespace fewshift::graph {

// The graph's output for `input`, in double precision throughout, rounded to float at the end. Throws what
// infer_shapes throws.
Tensor interpret(const Graph& graph, const Tensor& input);

}  // namespace fewshift::graph
