// SPDX-License-Identifier: Apache-2.0
#include "engine/units.h"

#include <algorithm>
#include <limits>
#include <set>

namespace fewshift::engine {
namespace {

constexpr int64_t kHiddenFloats = 64 * 1024;  // of a band: stays in the second cache
constexpr int64_t kWeightFloats = 64 * 1024;  // of a unit: read anew for each band
constexpr int64_t kSmallMap = 48 * 1024;      // hidden maps that stay in the cache as they are
constexpr int64_t kTogether = 2;              // blocks of a group at least

class Finder {
 public:
  Finder(const Program& program, int lanes)
      : program_(program), lanes_(lanes), readers_(readers_of(program)) {
    for (const Map& map : program.maps) {
      if (map.in_place_of >= 0) overwritten_.insert(map.in_place_of);
    }
  }

  std::map<int, Unit> run() {
    std::map<int, Unit> units;
    for (int k = 0; k + 1 < static_cast<int>(program_.steps.size()); ++k) {
      Unit unit;
      if (!find(k, unit)) continue;
      units[k] = unit;
      k += unit.count - 1;
    }
    return units;
  }

 private:
  const Step& step(int k) const { return program_.steps[k]; }
  // Read by step k alone, and lying by itself.
  bool between(int map, int k) const {
    return program_.maps[map].in_place_of < 0 && !overwritten_.contains(map) && !program_.maps[map].tail &&
           readers_[map] == std::set<int>{k};
  }
  static bool reads_only(const Convolve& op, int map) {
    return !op.inputs.empty() &&
           std::all_of(op.inputs.begin(), op.inputs.end(), [&](const Source& s) { return s.map == map; });
  }
  bool reads_whole(const View& view, int map) const {
    return run_of(view) == 0 && view.channels.front().map == map &&
           static_cast<int64_t>(view.channels.size()) == program_.maps[map].channels;
  }

  int64_t weights_of(int k) const {
    return program_.maps[step(k).writes].channels *
           static_cast<int64_t>(std::get<Convolve>(step(k).op).inputs.size());
  }

  bool find(int k, Unit& unit) const {
    const auto* expand = std::get_if<Convolve>(&step(k).op);
    if (!expand || expand->conv.adds || step(k).tail || expand->stride_y != 1 || expand->stride_x != 1)
      return false;
    if (std::any_of(expand->inputs.begin(), expand->inputs.end(), [](const Source& s) { return s.dy != 0; }))
      return false;
    unit.first = k;
    unit.hidden = step(k).writes;
    const Map& hidden = program_.maps[unit.hidden];
    int last = k + 1, read = unit.hidden;
    if (!std::holds_alternative<Convolve>(step(last).op)) {
      if (!middle(k + 1, unit)) return false;
      read = step(k + 1).writes;
      if (++last == static_cast<int>(program_.steps.size())) return false;
    } else if (!between(unit.hidden, last)) {
      return false;
    }
    const auto* project = std::get_if<Convolve>(&step(last).op);
    if (!project || step(last).tail || !reads_only(*project, read)) return false;
    if (read == unit.hidden) {
      unit.stride = project->stride_y;
      unit.groups = groups_of(*project, hidden);
      if (unit.groups.empty()) return false;
    } else {
      const bool plain = std::all_of(project->inputs.begin(), project->inputs.end(),
                                     [](const Source& s) { return s.dy == 0; });
      if (!between(read, last) || !plain || project->stride_y != 1) return false;
    }
    unit.count = last - k + 1;
    const Map& out = program_.maps[step(last).writes];
    if (out.in_place_of >= 0) {  // what a band writes over has been read
      for (Group& group : unit.groups) group.below = std::max<int64_t>(group.below, 0);
    }
    const auto weights = weights_of(k) + weights_of(last);
    const int64_t row = hidden.width * blocks_of(hidden) * lanes_;
    const bool wide = hidden.channels * hidden.height * hidden.width > out.channels * out.height * out.width;
    if (out.tail || !wide || row * hidden.height < kSmallMap || weights > kWeightFloats) return false;
    unit.band = (kHiddenFloats / row - unit.span() - 1) / unit.stride + 1;
    if (unit.band < 2 || unit.band >= out.height) return false;
    unit.overwrites = out.in_place_of >= 0 && unit.above() + unit.below() > 0;
    return !unit.overwrites || std::all_of(expand->inputs.begin(), expand->inputs.end(),
                                           [](const Source& s) { return s.dx == 0; });
  }

  int64_t blocks_of(const Map& map) const { return (map.channels + lanes_ - 1) / lanes_; }

  // Of the rows that the channels are read at. Two blocks or more, so that expand's tiles stay large.
  std::vector<Group> groups_of(const Convolve& project, const Map& hidden) const {
    const int64_t blocks = blocks_of(hidden), count = std::max<int64_t>(blocks / kTogether, 1);
    std::vector<int64_t> low(blocks, std::numeric_limits<int64_t>::max()),
        high(blocks, std::numeric_limits<int64_t>::min());
    for (const Source& s : project.inputs) {
      const int block = s.channel / lanes_;
      low[block] = std::min<int64_t>(low[block], s.dy), high[block] = std::max<int64_t>(high[block], s.dy);
    }
    std::vector<Group> groups;
    for (int64_t g = 0; g < count; ++g) {
      const int64_t begin = g * blocks / count, end = (g + 1) * blocks / count;
      const int64_t first = *std::min_element(low.begin() + begin, low.begin() + end),
                    last = *std::max_element(high.begin() + begin, high.begin() + end);
      if (first > last) continue;  // nobody reads them
      if (!groups.empty() && groups.back().above == -first && groups.back().below == last &&
          groups.back().block_end == begin) {
        groups.back().block_end = end;
      } else {
        groups.push_back({begin, end, -first, last});
      }
    }
    return groups;
  }

  bool middle(int k, Unit& unit) const {
    const Map& hidden = program_.maps[unit.hidden];
    if (step(k).tail || !between(unit.hidden, k) || !reads_whole(step(k).reads[0], unit.hidden)) return false;
    if (const auto* pool = std::get_if<PoolPixels>(&step(k).op)) {
      const graph::Pool& p = pool->pool;
      const Map& out = program_.maps[step(k).writes];
      if (p.max || p.kernel != graph::Pair{2, 2} || p.stride != graph::Pair{2, 2} ||
          p.pad_begin != graph::Pair{0, 0} || 2 * out.height > hidden.height || 2 * out.width > hidden.width)
        return false;
      unit.stride = 2, unit.groups = {{0, blocks_of(hidden), 0, 1}};
      return true;
    }
    if (const auto* depthwise = std::get_if<ConvolveDepthwise>(&step(k).op)) {
      const graph::Conv& c = depthwise->conv;
      unit.stride = c.stride[0];
      const int64_t below = (c.kernel[0] - 1) * c.dilation[0] - c.pad_begin[0];
      unit.groups = {{0, blocks_of(hidden), c.pad_begin[0], below}};
      return c.pad_begin[0] >= 0 && below >= 0;
    }
    return false;
  }

  const Program& program_;
  const int lanes_;
  const std::vector<std::set<int>> readers_;
  std::set<int> overwritten_;
};

template <class Of>
int64_t most(const std::vector<Group>& groups, Of of) {
  int64_t result = 0;
  for (const Group& group : groups) result = std::max(result, of(group));
  return result;
}

}  // namespace

int64_t Unit::above() const {
  return most(groups, [](const Group& g) { return g.above; });
}
int64_t Unit::below() const {
  return most(groups, [](const Group& g) { return g.below; });
}
int64_t Unit::span() const {
  return most(groups, [](const Group& g) { return g.above + g.below; });
}

std::map<int, Unit> find_units(const Program& program, int lanes) {
  return Finder(program, lanes).run();
}

std::map<int, int64_t> band_maps(const Program& program, const std::map<int, Unit>& units) {
  std::map<int, int64_t> rows;
  for (const auto& [first, unit] : units) {
    rows[unit.hidden] = unit.buffered();
    if (unit.count == 3) rows[program.steps[first + 1].writes] = unit.band;
  }
  return rows;
}

}  // namespace fewshift::engine
