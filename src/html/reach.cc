// SPDX-License-Identifier: Apache-2.0
#include "html/reach.h"

#include <algorithm>
#include <cmath>

#include "arch/spatial.h"

namespace fewshift::html {
namespace {

struct Tap {
  int dy, dx;
  double share;
};

std::vector<Tap> square(int begin, int end) {
  std::vector<Tap> taps;
  const double share = 1.0 / ((end - begin) * (end - begin));
  for (int y = begin; y < end; ++y) {
    for (int x = begin; x < end; ++x) taps.push_back({y, x, share});
  }
  return taps;
}

std::vector<Tap> of(const Moves& moves) {
  std::map<std::pair<int, int>, double> counts;
  for (const auto& [dy, dx] : moves)
    counts[{static_cast<int>(std::nearbyint(dy)), static_cast<int>(std::nearbyint(dx))}] += 1;
  std::vector<Tap> taps;
  for (const auto& [move, count] : counts)
    taps.push_back({move.first, move.second, count / static_cast<double>(moves.size())});
  return taps;
}

// Calls f(taps, jump, whether a shortcut passes it, unit) for all that looks beside its own pixel, in order.
// Returns the last map's jump.
template <class F>
int each_stage(const Arch& arch, const std::map<std::string, Moves>& moves, F f) {
  int jump = 1;
  const std::string layer = spatial_operator(arch.shift).layer;
  for (const NamedUnit& named : arch.units) {
    if (const auto* conv = std::get_if<ConvBn>(&named.unit)) {
      f(square(-conv->pad(), conv->kernel - conv->pad()), jump, false, named.name);
      jump *= conv->stride;
    } else if (const auto* pool = std::get_if<MaxPool>(&named.unit)) {
      f(square(-pool->kernel / 2, pool->kernel - pool->kernel / 2), jump, false, named.name);
      jump *= pool->stride;
    } else if (const auto* unit = std::get_if<InvertedBottleneck>(&named.unit)) {
      const bool passes = unit->shortcut != Shortcut::kNone || unit->first > 0;
      if (unit->spatial == Spatial::kPool) {
        f(square(0, 2), jump, passes, named.name);
      } else {
        const auto found = moves.find(named.name + "." + layer);
        const bool known = found != moves.end() && !found->second.empty();
        f(known                  ? of(found->second)
          : layer == "depthwise" ? square(-1, 2)
                                 : std::vector<Tap>{{0, 0, 1}},
          jump, passes, named.name);
      }
      if (unit->spatial != Spatial::kShift) jump *= 2;
    }
  }
  return jump;
}

}  // namespace

int Reach::half_side(double share) const {
  double sum = 0;
  for (int side = 0; side <= radius; ++side) {
    for (int k = -side; k <= side; ++k) {
      sum += at(-side, k);
      if (side > 0) sum += at(side, k);
      if (std::abs(k) < side) sum += at(k, -side) + at(k, side);
    }
    if (sum >= share) return side;
  }
  return radius;
}

Reach reach_of(const Arch& arch, const std::map<std::string, Moves>& moves, int radius) {
  Reach reach;
  const int width = 2 * radius + 1;
  reach.radius = radius;
  reach.shares.assign(static_cast<size_t>(width) * width, 0.0);
  reach.shares[static_cast<size_t>(radius) * width + radius] = 1;
  reach.jump = each_stage(arch, moves, [&](std::vector<Tap> taps, int jump, bool passes, const std::string&) {
    if (taps.size() == 1 && taps[0].dy == 0 && taps[0].dx == 0) return;
    if (passes) {
      for (Tap& tap : taps) tap.share /= 2;
      taps.push_back({0, 0, 0.5});
    }
    std::array<int, 4> most{};
    std::vector<double> next(reach.shares.size(), 0.0);
    for (const Tap& tap : taps) {
      const int dy = tap.dy * jump, dx = tap.dx * jump;
      most = {std::max(most[0], -dy), std::max(most[1], dy), std::max(most[2], -dx), std::max(most[3], dx)};
      for (int y = 0; y < width; ++y) {
        const int row = std::clamp(y + dy, 0, width - 1) * width;
        for (int x = 0; x < width; ++x) {
          const double share = reach.shares[static_cast<size_t>(y) * width + x];
          if (share > 0) next[row + std::clamp(x + dx, 0, width - 1)] += tap.share * share;
        }
      }
    }
    reach.shares = std::move(next);
    for (size_t k = 0; k < 4; ++k) reach.farthest[k] += most[k];
  });
  return reach;
}

std::map<std::string, int> jumps_of(const Arch& arch) {
  std::map<std::string, int> jumps;
  each_stage(arch, {},
             [&](const std::vector<Tap>&, int jump, bool, const std::string& unit) { jumps[unit] = jump; });
  return jumps;
}

}  // namespace fewshift::html
