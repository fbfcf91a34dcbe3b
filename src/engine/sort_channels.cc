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

// values [order.size()][each], in that order.
std::vector<float> ordered(const std::vector<float>& values, const std::vector<size_t>& order, size_t each) {
  std::vector<float> result;
  result.reserve(values.size());
  for (size_t k : order)
    result.insert(result.end(), values.begin() + k * each, values.begin() + (k + 1) * each);
  return result;
}

// A convolution's inputs in the order of their channels, and its weight's columns with them.
void order_inputs(Step& step) {
  auto& op = std::get<Convolve>(step.op);
  View& view = step.reads[0];
  std::vector<size_t> order(view.channels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const Source &x = view.channels[a], &y = view.channels[b];
    return std::pair(x.map, x.channel) < std::pair(y.map, y.channel);
  });
  const View before = view;
  for (size_t k = 0; k < order.size(); ++k) view.channels[k] = before.channels[order[k]];
  const size_t taps = op.conv.kernel[0] * op.conv.kernel[1], row = order.size() * taps;
  for (size_t o = 0; o < op.bias.size(); ++o) {
    const auto begin = op.weight.begin() + static_cast<std::ptrdiff_t>(o * row);
    const std::vector<float> weights =
        ordered({begin, begin + static_cast<std::ptrdiff_t>(row)}, order, taps);
    std::copy(weights.begin(), weights.end(), begin);
  }
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
    std::vector<size_t> order(dy.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return dy[a] < dy[b]; });
    op->weight = ordered(op->weight, order, op->weight.size() / order.size());
    op->bias = ordered(op->bias, order, 1);
    std::vector<int> place(order.size());
    for (size_t k = 0; k < order.size(); ++k) place[order[k]] = static_cast<int>(k);
    for (Source& s : view.channels) {
      if (s.map == map) s.channel = place[s.channel];
    }
    order_inputs(program.steps[reader]);
  }
}

}  // namespace fewshift::engine
