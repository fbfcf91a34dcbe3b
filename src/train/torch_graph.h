// A graph on LibTorch's operators: a second opinion on what the engine computes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "graph/graph.h"

namespace fewshift {

// x [N,C,H,W] as graph.input_dims says.
torch::Tensor compute_with_torch(const graph::Graph& graph, const torch::Tensor& x);

}  // namespace fewshift
