// The table of kernels, one for each instruction set, and the choice among them. Kernels trust their
// arguments. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/planar.h"
#include "kernels/pointwise.h"
#include "kernels/pool.h"

namespace fewshift {

// Maps lie in blocks of `lanes` channels: [ceil(channels / lanes)][rows][pitch][lanes] floats, margins of
// zero pixels around each block's map. Lanes beyond the last channel hold anything.
struct Kernels {
  const char* isa = "";  // "avx512", "avx2", "sse4", "neon", "baseline"; "reference" for the plain functions
  int lanes = 0;         // floats in a vector

  void (*pointwise)(const Pointwise&, const Part&) = nullptr;
  void (*depthwise)(const Depthwise&, const Part&) = nullptr;
  void (*pool)(const Pool&, const Part&) = nullptr;
  void (*global_average)(const GlobalAverage&, const Part&) = nullptr;  // the part's rows do not matter
  void (*unary)(const Unary&, const Part&) = nullptr;
  void (*binary)(const Binary&, const Part&) = nullptr;
  void (*affine)(const Affine&, const Part&) = nullptr;

  bool planar_pairs = false;  // whether the processor has instructions for PlanarOperands::kPairs
  int planar_height = 0;      // outputs of a planar product, and rows of its dots, are a multiple of this
  void (*planar_product)(const PlanarProduct&) = nullptr;
  void (*planar_dots)(const PlanarDots&) = nullptr;
  void (*planar_taps)(PlanarTaps&) = nullptr;                    // 0, 4, 6 or 9 taps
  void (*planar_sample)(const PlanarSample&) = nullptr;          // 1 to 9 taps
  void (*planar_round)(float* values, int64_t count) = nullptr;  // nearest_bf16; a multiple of `lanes`
  // Vectors of bfloat16s two in one, the first in the lower half of every 32 bits, for PlanarDots::a; an odd
  // one alone.
  void (*planar_pair)(const float* from, int64_t vectors, float* to) = nullptr;
  void (*planar_keep)(const PlanarCopy&) = nullptr;
  void (*planar_restore)(const PlanarCopy&) = nullptr;
};

// The best that this processor has, or the one that the environment's FEWSHIFT_ISA names. Throws Error
// (kInvalidArgument) where that is unknown or not to be had here. "reference": the plain functions, slow, for
// looking for faults; not for training.
const Kernels& kernels();

// All that this processor has, the best first.
const std::vector<Kernels>& all_kernels();

// The plain functions, for maps in blocks of 1, 2, 4, 8 or 16 channels.
Kernels reference_kernels(int lanes);

}  // namespace fewshift
