// Where maps lie in a session's memory. Maps of one size share a pool, in which they come and go by blocks of
// channels; its margins are written by nobody and stay zero. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "engine/program.h"
#include "engine/units.h"

namespace fewshift::engine {

class Layout {
 public:
  // Of units only bands of what lies between their steps are kept, for each thread. Throws Error
  // (kUnsupported) where more than the program's memory_bytes, or 2^31 floats, would be
  // needed.
  Layout(const Program& program, const std::map<int, Unit>& units, int lanes, int64_t batch, int threads);

  int64_t floats() const { return floats_; }
  int64_t band_floats() const { return band_floats_; }  // from one thread's bands to the next one's

  // Of a map that is in place of no other. Floats from the beginning of the memory to channel c's pixel
  // (i,j), which may lie in the margin; between rows, pixels and blocks of channels.
  int64_t place(int map, int64_t c, int64_t i = 0, int64_t j = 0) const {
    const Pool& p = pool(map);
    return p.base + (blocks_before_[map] + c / p.lanes) * p.block + (p.margin + i) * row(map) +
           (p.margin + j) * p.lanes + c % p.lanes;
  }
  int64_t row(int map) const { return pool(map).pitch * pool(map).lanes; }
  int64_t pixel(int map) const { return pool(map).lanes; }
  int64_t block(int map) const { return pool(map).block; }

 private:
  struct Kind {
    bool band;  // first: bands come last in the order
    int64_t height, width;
    bool planar, tail;
    auto operator<=>(const Kind&) const = default;
  };
  struct Pool {
    int64_t lanes = 1, margin = 0, pitch = 0, block = 0, blocks = 0, base = 0;
  };
  const Pool& pool(int map) const { return pools_.at(kinds_[map]); }
  void reach(const View& view, int64_t dy, int64_t dx, int64_t stride_y, int64_t stride_x, int64_t height,
             int64_t width);

  std::vector<Kind> kinds_;  // of each map
  std::map<Kind, Pool> pools_;
  std::vector<int64_t> blocks_before_;
  int64_t floats_ = 0, band_floats_ = 0;
};

}  // namespace fewshift::engine
