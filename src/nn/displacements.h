// Displacements of a whole network: how they start, how sparse they are, fixed random ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/network.h"

namespace fewshift {

// "symmetric": uniform in [-reach, reach] both ways. "grid": the channels in equal groups over the 3x3
// neighbourhood, each spread evenly within its cell (the released code's start, made symmetric). "zero". Sets
// `start` too. Throws Error (kInvalidArgument) on another name.
void start_displacements(Network& network, const std::string& start, double reach, uint64_t seed);

// Fixed shifts, never learned: in each layer the given share of channels (in [0,1], one a layer) stays,
// chosen at random; every other channel moves to one of its eight neighbours at random. Displacements stop
// asking for gradients.
void fix_random_shifts(Network& network, const std::vector<double>& layer_sparsity, uint64_t seed);

// The grouped shift layer (GSL; "Shift: A Zero FLOP, Zero Parameter Alternative"): the channels of each layer
// in equal groups over the 3x3 neighbourhood, fixed likewise.
void fix_grid_shifts(Network& network);

// The share of channels whose rounded displacement is (0,0): of the network, and of each shift layer. 1
// without any.
double shift_sparsity(const Network& network);
std::vector<double> layer_sparsity(const Network& network);

struct ShiftChange {
  int64_t channels = 0;
  int64_t moved = 0;      // from one non-zero shift to another
  int64_t to_zero = 0;    // from a non-zero shift to none
  int64_t from_zero = 0;  // from none to a non-zero one
};
// Between the start and now.
ShiftChange shift_change(const Network& network);

// How many channels make each move: "dy,dx" -> channels.
std::map<std::pair<int64_t, int64_t>, int64_t> shift_histogram(const Network& network, bool at_start);

}  // namespace fewshift
