// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "engine/program.h"

namespace fewshift::engine {
namespace {

// The one step that reads a map's channels, if it is one, and a convolution; else -1.
int reader_of(const Program& program, int map) {
  int reader = -1;
  auto reads = [&](const View& view) {
    return std::any_of(view.channels.begin(), view.channels.end(),
                       [&](const Source& s) { return s.map == map; });
  };
  for (size_t k = 0; k < program.steps.size(); ++k) {
    const Step& step = program.steps[k];
    for (size_t r = 0; r < step.reads.size(); ++r) {
      if (!reads(step.reads[r])) continue;
      if (reader >= 0 || r > 0 || !std::holds_alternative<Convolve>(step.op)) return -1;
      reader = static_cast<int>(k);
    }
  }
  return reads(program.output) ? -1 : reader;
}

}  // namespace

void sort_channels(Program& program) {
  for (Step& step : program.steps) {
    auto* op = std::get_if<Convolve>(&step.op);
    const int map = step.writes;
    if (!op || op->conv.adds || program.maps[map].in_place_of >= 0) continue;
    if (std::any_of(program.maps.begin(), program.maps.end(),
                    [&](const Map& m) { return m.in_place_of == map; }))
      continue;
    const int reader = reader_of(program, map);
    if (reader < 0) continue;
    View& view = program.steps[reader].reads[0];
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
