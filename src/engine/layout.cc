// SPDX-License-Identifier: Apache-2.0
#include "engine/layout.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"

namespace fewshift::engine {
namespace {

struct Life {
  int first = std::numeric_limits<int>::max(), last = -1;
  bool overlaps(const Life& other) const { return first <= other.last && other.first <= last; }
};

// A unit's maps live through all of it: its steps take turns.
std::vector<Life> lives_of(const Program& program, const std::map<int, Unit>& units) {
  constexpr int kEnd = std::numeric_limits<int>::max() - 1;
  std::vector<Life> lives(program.maps.size());
  auto touch = [&](int map, int step) {
    if (map < 0) return;
    if (program.maps[map].in_place_of >= 0) map = program.maps[map].in_place_of;
    lives[map].first = std::min(lives[map].first, step);
    lives[map].last = std::max(lives[map].last, step);
  };
  std::vector<std::pair<int, int>> together(program.steps.size());  // the first and last step that take turns
  for (int k = 0; k < static_cast<int>(together.size()); ++k) together[k] = {k, k};
  for (const auto& [first, unit] : units) {
    for (int k = first; k < first + unit.count; ++k) together[k] = {first, first + unit.count - 1};
  }
  touch(program.input, -1);
  for (size_t k = 0; k < program.steps.size(); ++k) {
    const Step& step = program.steps[k];
    for (const View& view : step.reads) {
      for (const Source& s : view.channels) touch(s.map, together[k].second);
    }
    // Columns that one picture fills wait for the others'.
    touch(step.writes, program.maps[step.writes].tail && !step.tail ? -1 : together[k].first);
    touch(step.writes, together[k].second);
  }
  for (const View* view : {&program.output, &program.features}) {
    for (const Source& s : view->channels) touch(s.map, kEnd);
  }
  return lives;
}

}  // namespace

// Widens margins so that what a step reads of a view lies in its maps' margins at most.
void Layout::reach(const View& view, int64_t dy, int64_t dx, int64_t stride_y, int64_t stride_x,
                   int64_t height, int64_t width) {
  for (const Source& s : view.channels) {
    if (s.map < 0) continue;
    const Kind& kind = kinds_[s.map];
    int64_t& margin = pools_[kind].margin;
    if (kind.band) {  // its rows above and below are among those kept
      const int64_t move = s.dx + dx;
      margin = std::max({margin, -move, move + stride_x * (width - 1) - (kind.width - 1)});
      continue;
    }
    for (const auto& [move, stride, count, size] : {std::array{s.dy + dy, stride_y, height, kind.height},
                                                    std::array{s.dx + dx, stride_x, width, kind.width}}) {
      margin = std::max({margin, -move, move + stride * (count - 1) - (size - 1)});
    }
  }
}

Layout::Layout(const Program& program, const std::map<int, Unit>& units, int lanes, int64_t batch,
               int threads)
    : blocks_before_(program.maps.size(), 0) {
  const std::map<int, int64_t> bands = band_maps(program, units);
  for (size_t m = 0; m < program.maps.size(); ++m) {
    const Map& map = program.maps[m];
    const auto band = bands.find(static_cast<int>(m));
    const int64_t height = band == bands.end() ? map.height : band->second;
    kinds_.push_back({band != bands.end(), height, map.tail ? batch : map.width, map.planar, map.tail});
    pools_[kinds_.back()].lanes = map.planar ? 1 : lanes;
  }
  for (const Step& step : program.steps) {
    const Map& y = program.maps[step.writes];
    const View& x = step.reads[0];
    if (const auto* op = std::get_if<Convolve>(&step.op)) {
      if (!step.tail)
        reach({op->inputs, x.height, x.width, 1, 1}, 0, 0, op->stride_y, op->stride_x, y.height, y.width);
    } else if (const auto* op = std::get_if<ConvolveDepthwise>(&step.op)) {
      for (int64_t k : {int64_t{0}, op->conv.kernel[0] - 1}) {
        for (int64_t l : {int64_t{0}, op->conv.kernel[1] - 1}) {
          reach(x, k * op->conv.dilation[0] - op->conv.pad_begin[0],
                l * op->conv.dilation[1] - op->conv.pad_begin[1], op->conv.stride[0], op->conv.stride[1],
                y.height, y.width);
        }
      }
    } else {
      for (const View& view : step.reads)
        reach(view, 0, 0, view.stride_y, view.stride_x, view.height, step.tail ? batch : view.width);
    }
  }
  for (const View* view : {&program.output, &program.features}) {
    if (!view->channels.empty())
      reach(*view, 0, 0, view->stride_y, view->stride_x, view->height, view->width);
  }

  const std::vector<Life> lives = lives_of(program, units);
  std::vector<int> order;
  for (size_t m = 0; m < program.maps.size(); ++m) {
    if (program.maps[m].in_place_of < 0 && lives[m].last >= lives[m].first)
      order.push_back(static_cast<int>(m));
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lives[a].first < lives[b].first; });
  std::map<Kind, std::vector<int>> placed;
  auto blocks = [&](int m) { return (program.maps[m].channels + pool(m).lanes - 1) / pool(m).lanes; };
  for (int m : order) {  // the lowest place that is free for its life
    std::vector<int>& others = placed[kinds_[m]];
    std::erase_if(others, [&](int other) { return lives[other].last < lives[m].first; });
    int64_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (int other : others) {
        const int64_t begin = blocks_before_[other], end = begin + blocks(other);
        if (lives[m].overlaps(lives[other]) && at < end && begin < at + blocks(m)) at = end, moved = true;
      }
    }
    blocks_before_[m] = at;
    others.push_back(m);
    Pool& p = pools_[kinds_[m]];
    p.blocks = std::max(p.blocks, at + blocks(m));
  }
  // Offsets are of 32 bits.
  const int64_t most = std::min<int64_t>(program.memory_bytes / 4, int64_t{1} << 31);
  for (auto& [kind, p] : pools_) {    // bands come last
    p.pitch = kind.width + p.margin;  // the margin behind a row is the one before the next
    p.block = ((kind.height + 2 * p.margin) * p.pitch + p.margin) * p.lanes;
    p.base = floats_ + band_floats_;
    const bool fits =
        p.block <= most / std::max<int64_t>(p.blocks, 1);  // else the product may not be a number
    if (fits) (kind.band ? band_floats_ : floats_) += (p.blocks * p.block + 15) / 16 * 16;
    if (!fits || floats_ + threads * band_floats_ >= most)
      throw Error(ErrorCode::kUnsupported, "the graph",
                  "needs more than " + std::to_string(std::min(program.memory_bytes, int64_t{8} << 30)) +
                      " bytes for its maps");
  }
  floats_ += threads * band_floats_;
}

}  // namespace fewshift::engine
