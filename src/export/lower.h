// From a network as data and its weights to a graph of plain operators.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>

#include "arch/arch.h"
#include "core/safetensors.h"
#include "graph/graph.h"

namespace fewshift {

// The parameter or buffer `name` ("units.3.expand.conv.weight"), of dimensions `dims`.
using Weights = std::function<graph::Tensor(const std::string& name, const graph::Dims& dims)>;

// Those of a checkpoint. The function throws Error (kCorrupt, naming `where` and the tensor) for one that is
// missing, of another size or not float32. `file` must outlive it.
Weights weights_of(const SafeTensors& file, const std::string& where);

// Weights at random (He's normal, by fan-in), for measuring speed; of each shift layer the share `sparsity`
// of the channels stays, chosen at random, the rest moves to one of its eight neighbours.
Weights random_weights(uint64_t seed, double sparsity);

// The graph of `arch` for inputs of `size` px (0: its own), in evaluation mode, batch norm as nodes of its
// own, shifts as Shift. Nodes and constants have the layers' names. Throws Error (kUnsupported) for a spatial
// operator that is not built in, and what `weights` throws.
graph::Graph lower(const Arch& arch, const Weights& weights, int size = 0);

}  // namespace fewshift
