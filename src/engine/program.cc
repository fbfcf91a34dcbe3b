// SPDX-License-Identifier: Apache-2.0
#include "engine/program.h"

namespace fewshift::engine {

View resolved(const Program& program, const View& view) {
  View result = view;
  for (Source& s : result.channels) {
    if (s.map >= 0 && program.maps[s.map].in_place_of >= 0) {
      s.channel += program.maps[s.map].first;
      s.map = program.maps[s.map].in_place_of;
    }
  }
  return result;
}

int run_of(const View& view) {
  if (view.stride_y != 1 || view.stride_x != 1 || view.channels.empty()) return -1;
  const Source& first = view.channels.front();
  for (size_t c = 0; c < view.channels.size(); ++c) {
    const Source& s = view.channels[c];
    if (s.map < 0 || s.map != first.map || s.channel != first.channel + static_cast<int>(c) || s.dy != 0 ||
        s.dx != 0)
      return -1;
  }
  return first.channel;
}

std::vector<std::set<int>> readers_of(const Program& program) {
  std::vector<std::set<int>> readers(program.maps.size());
  auto read = [&](const View& view, int step) {
    for (const Source& s : view.channels) {
      if (s.map >= 0) readers[s.map].insert(step);
    }
  };
  for (size_t k = 0; k < program.steps.size(); ++k) {
    for (const View& view : program.steps[k].reads) read(view, static_cast<int>(k));
  }
  read(program.output, -1);
  read(program.features, -1);
  return readers;
}

}  // namespace fewshift::engine
