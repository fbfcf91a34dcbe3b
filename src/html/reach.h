// How far a stack of shifts, convolutions and pools can see, and how much of what it sees comes from where.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "arch/arch.h"

namespace fewshift::html {

// The displacements of a shift layer, (dy,dx) in pixels of the map that it reads, a channel each.
using Moves = std::vector<std::array<double, 2>>;

// Of a pixel in the middle of the last map: the share that each pixel of the input has in it, if every layer
// mixed all channels alike and a shortcut carried one half: a first look, which knows no weights.
struct Reach {
  int radius = 0;                 // shares are of offsets from -radius to radius, in input pixels
  std::vector<double> shares;     // [2 radius + 1][2 radius + 1], rows first; together 1
  int jump = 1;                   // input pixels from one pixel of the last map to the next
  std::array<int, 4> farthest{};  // up, down, left, right, in input pixels, even beyond the radius
  double at(int dy, int dx) const { return shares[(dy + radius) * (2 * radius + 1) + dx + radius]; }
  // The smallest square's half side around the middle that holds so much of it.
  int half_side(double share) const;
};

// moves: shift layer -> its displacements, rounded here; a layer without is taken as still. Offsets beyond
// the radius count at it.
Reach reach_of(const Arch& arch, const std::map<std::string, Moves>& moves, int radius);

// Input pixels from one pixel to the next of the map that each bottleneck's spatial operator reads, by its
// unit's name.
std::map<std::string, int> jumps_of(const Arch& arch);

}  // namespace fewshift::html
