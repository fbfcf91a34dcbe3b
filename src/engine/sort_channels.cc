// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "engine/program.h"

namespace fewshift::engine {

void sort_channels(Program& program) {
  const std::vector<std::set<int>> readers = readers_of(program);
  std::set<int> overwritten;
  for (const Map& map : program.maps) overwritten.insert(map.in_place_of);
  for (Step& step : program.steps) {
    auto* op = std::get_if<Convolve>(&step.op);
    const int map = step.writes;
    if (!op || op->conv.adds || program.maps[map].in_place_of >= 0 || overwritten.contains(map)) continue;
    if (readers[map].size() != 1 || *readers[map].begin() < 0) continue;
    Step& reader = program.steps[*readers[map].begin()];
    const bool adds_it = reader.reads.size() > 1 &&
                         std::any_of(reader.reads[1].channels.begin(), reader.reads[1].channels.end(),
                                     [&](const Source& s) { return s.map == map; });
    if (!std::holds_alternative<Convolve>(reader.op) || adds_it) continue;
    View& view = reader.reads[0];
    std::vector<int> dy(program.maps[map].channels, 0);
    for (const Source& s : view.channels) {
      if (s.map == map) dy[s.channel] = s.dy;
    }
    if (std::all_of(dy.begin(), dy.end(), [](int d) { return d == 0; })) continue;
    op->order.resize(dy.size());
    std::iota(op->order.begin(), op->order.end(), 0);
    std::stable_sort(op->order.begin(), op->order.end(), [&](int64_t a, int64_t b) { return dy[a] < dy[b]; });
    std::vector<int> place(dy.size());
    for (size_t k = 0; k < place.size(); ++k) place[op->order[k]] = static_cast<int>(k);
    for (Source& s : view.channels) {
      if (s.map == map) s.channel = place[s.channel];
    }
  }
}

}  // namespace fewshift::engine
