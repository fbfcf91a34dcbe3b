// Units that are computed as one step, band of rows by band of rows, so that the hidden map between their
// convolutions never leaves the cache: expand, then maybe a pool or a depthwise convolution, then
// project, which reads shifted. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <vector>

#include "engine/program.h"

namespace fewshift::engine {

// Blocks of channels of a unit's hidden map that are computed together. Rows [r0, r1) of what comes out need
// their rows [stride * r0 - above, stride * (r1 - 1) + below + 1). A band begins with the first of these.
struct Group {
  int64_t block_begin = 0, block_end = 0;
  int64_t above = 0, below = 0;
};

struct Unit {
  int first = 0, count = 0;  // its steps
  int hidden = 0;            // the map between them
  int64_t stride = 1;
  std::vector<Group> groups;
  int64_t band = 1;         // rows that come out at a time
  bool overwrites = false;  // what it reads, of other rows too
  int64_t above() const;    // the most of any group, 0 at least
  int64_t below() const;
  int64_t span() const;                                                  // the most of above + below
  int64_t buffered() const { return stride * (band - 1) + span() + 1; }  // rows of the hidden map then
};

// By the number of their first step.
std::map<int, Unit> find_units(const Program& program, int lanes);

// Maps of which only a band is kept, and of how many rows.
std::map<int, int64_t> band_maps(const Program& program, const std::map<int, Unit>& units);

}  // namespace fewshift::engine
