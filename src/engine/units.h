// Units that are computed as one step, band of rows by band of rows, so that the hidden map between their
// convolutions never leaves the cache: expand, then maybe a pool or a depthwise convolution, then
// project, which reads shifted. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <vector>

#include "engine/program.h"

namespace fewshift::engine {

struct Unit {
  int first = 0, count = 0;  // its steps
  int hidden = 0;            // the map between them
  // Rows [r0, r1) of what comes out need rows [stride * r0 - above, stride * (r1 - 1) + below + 1) of the
  // hidden map.
  int64_t stride = 1, above = 0, below = 0;
  int64_t band = 1;  // rows that come out at a time
  int64_t buffered() const { return stride * (band - 1) + above + below + 1; }  // rows of the hidden map then
};

// By the number of their first step. With several threads only those whose bands do not overwrite what
// another's need.
std::map<int, Unit> find_units(const Program& program, int lanes, int threads);

// Maps of which only a band is kept, and of how many rows.
std::map<int, int64_t> band_maps(const Program& program, const std::map<int, Unit>& units);

}  // namespace fewshift::engine
