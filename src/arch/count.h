// Parameters and multiply-adds of a network, layer by layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "arch/arch.h"

namespace fewshift {

struct LayerCount {
  std::string name;     // "units.3.expand", as its parameters are named
  std::string kind;     // "conv 3x3", "pointwise", "sparse shift", "average pool", "squeeze-excite", "linear"
  int in = 0, out = 0;  // channels
  int height = 0, width = 0;  // px, of the output
  int64_t params = 0;         // of the layer and the batch norm behind it; displacements are counted apart
  int64_t madds = 0;          // of one image: conv and linear layers
  int64_t displacements = 0;  // two a channel of a shift layer
};

struct Count {
  std::vector<LayerCount> layers;
  int64_t params = 0, madds = 0, displacements = 0;
};

// For a square input of `size` px (0: the network's own). Throws Error (kInvalidArgument) where that is too
// small for its convolutions.
Count count(const Arch& arch, int size = 0);

}  // namespace fewshift
