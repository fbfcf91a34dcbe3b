// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "engine/program.h"

namespace fewshift::engine {
namespace {

// The last step that reads each channel of each map.
std::vector<std::vector<int>> last_readers(const Program& program) {
  std::vector<std::vector<int>> last;
  for (const Map& map : program.maps) last.emplace_back(map.channels, -1);
  auto read = [&](const View& view, int step) {
    for (const Source& s : view.channels) {
      if (s.map >= 0) last[s.map][s.channel] = std::max(last[s.map][s.channel], step);
    }
  };
  for (size_t k = 0; k < program.steps.size(); ++k) {
    for (const View& view : program.steps[k].reads) read(view, static_cast<int>(k));
  }
  read(program.output, std::numeric_limits<int>::max());
  read(program.features, std::numeric_limits<int>::max());
  return last;
}

bool reads_map(const Program& program, const View& view, int map) {
  const View lies = resolved(program, view);
  return std::any_of(lies.channels.begin(), lies.channels.end(),
                     [&](const Source& s) { return s.map == map; });
}

// Which of a step's operands its result may stand in for, or -1.
int candidate(const Step& step) {
  if (const auto* conv = std::get_if<Convolve>(&step.op)) return conv->conv.adds ? 1 : -1;
  const bool each = std::holds_alternative<Apply>(step.op) || std::holds_alternative<Scale>(step.op) ||
                    std::holds_alternative<Combine>(step.op);
  return each ? 0 : -1;
}

}  // namespace

void write_in_place(Program& program, int lanes) {
  auto last = last_readers(program);
  for (size_t k = 0; k < program.steps.size(); ++k) {
    const Step& step = program.steps[k];
    const int operand = candidate(step);
    if (operand < 0) continue;
    const View view = resolved(program, step.reads[operand]);
    const int first = run_of(view);
    if (first < 0) continue;
    const int map = view.channels.front().map;
    const Map &target = program.maps[map], &own = program.maps[step.writes];
    if (target.planar || target.tail != own.tail || target.height != own.height || target.width != own.width)
      continue;
    // Nothing else may need what is overwritten, now or later.
    bool free = true;
    for (int64_t c = 0; c < own.channels; ++c) free &= last[map][first + c] <= static_cast<int>(k);
    for (size_t r = 0; r < step.reads.size(); ++r) {
      if (static_cast<int>(r) != operand && reads_map(program, step.reads[r], map)) free = false;
    }
    // Whole vectors are written: other channels in the first or last must be left alone, or not be there. A
    // sum adds zero to them.
    const bool apart = first % lanes == 0 &&
                       ((first + own.channels) % lanes == 0 || first + own.channels == target.channels);
    const auto* conv = std::get_if<Convolve>(&step.op);
    if (!free || (!apart && (!conv || conv->conv.clamps()))) continue;
    for (int64_t c = 0; c < own.channels; ++c) last[map][first + c] = last[step.writes][c];
    program.maps[step.writes].in_place_of = map;
    program.maps[step.writes].first = first;
  }
}

}  // namespace fewshift::engine
