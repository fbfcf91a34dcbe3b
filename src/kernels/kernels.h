// The table of kernels, one for each instruction set, and the choice among them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/pointwise.h"

namespace fewshift {

// Maps lie in blocks of `lanes` channels: [ceil(channels / lanes)][rows][pitch][lanes] floats, with a margin
// of zero pixels around them, which rows and pitch include. Lanes beyond the last channel are never read.
struct Kernels {
  const char* isa =
      "";         // "avx512", "avx2", "sse4" or "baseline" (NEON on ARM); "reference" for the plain functions
  int lanes = 0;  // floats in a vector
  int tile_blocks = 0;  // blocks of outputs that pointwise computes together

  // Rows [from, to) of y.
  void (*pointwise)(const Pointwise& args, int64_t from, int64_t to) = nullptr;
};

// The best that this processor has, or the one that the environment's FEWSHIFT_ISA names. Throws Error
// (kInvalidArgument) where that is unknown or not to be had here.
const Kernels& kernels();

// All that this processor has, the best first.
const std::vector<Kernels>& all_kernels();

// The plain functions, for maps in blocks of `lanes` and weights in tiles of `tile_blocks`.
Kernels reference_kernels(int lanes, int tile_blocks);

}  // namespace fewshift
