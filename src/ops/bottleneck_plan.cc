// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_plan.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

namespace fewshift::bottleneck {

int64_t part_begin(int64_t part, int64_t N) {
  constexpr int kBegins[kParts + 1] = {0, 10, 20, 30, 38, 46, 54, 60, 64};
  return N >= 32 ? N * kBegins[part] / 64 : N * part / kParts;
}

int64_t images_together(const Shape& s) {
  const int64_t pixels = s.H * s.W, most = std::max(s.width, s.out) * pixels * 4;
  int64_t part = 1;
  for (int64_t t = 0; t < kParts; ++t) part = std::max(part, part_begin(t + 1, s.N) - part_begin(t, s.N));
  return std::clamp<int64_t>(std::min(kPixels / pixels, kNarrowBytes / most), 1, part);
}

std::vector<int32_t> strided(int64_t count, int64_t step) {
  std::vector<int32_t> offsets(count);
  for (int64_t k = 0; k < count; ++k) offsets[k] = static_cast<int32_t>(k * step);
  return offsets;
}

Plan::Plan(const Work& work, bool backward)
    : w(work),
      shape(w.shape),
      kernels(fewshift::kernels()),
      height(kernels.planar_height),
      direct(w.tap_count == 1 && !w.scale),
      every_phase(shape.phases() > 1 && (!direct || (backward && (w.measures || w.corner_count > 0)))),
      in_rows(round_up(shape.width, height)),
      out_rows(round_up(shape.out, height)),
      grid(make_grid()),
      y_in_place(out_rows == shape.out && grid.fills(out_pixels())),
      dx_in_place(in_rows == shape.width && grid.fills(pixels(0))) {
  for (int64_t phase = 0; phase < shape.phases(); ++phase)
    masks.push_back(grid.masks(rows(phase), columns(phase)));
  order.resize(shape.hidden);
  std::iota(order.begin(), order.end(), 0);
  if (direct) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return w.taps[a][0].phase < w.taps[b][0].phase; });
  }
  divide(backward);
  TORCH_CHECK(phases_held() * chunk * grid.wide_floats < (int64_t{1} << 31) &&
                  std::max(in_rows, out_rows) * grid.narrow_floats < (int64_t{1} << 31) &&
                  grid.images * std::max(shape.channels, shape.out) * shape.H * shape.W < (int64_t{1} << 31),
              "bottleneck: maps of ", shape.H, " x ", shape.W, " are too large");
}

Planes Plan::make_grid() const {
  int64_t y = 0, x = 0;
  auto look = [&](const Tap& tap) { y = std::max(y, std::abs(tap.y)), x = std::max(x, std::abs(tap.x)); };
  for (const Taps& taps : w.taps) std::for_each_n(taps.begin(), w.tap_count, look);
  for (const Taps& corners : w.corners) std::for_each_n(corners.begin(), w.corner_count, look);
  return Planes(images_together(shape), rows(0), columns(0), y, x, kernels.lanes);
}

void Plan::divide(bool backward) {
  const int64_t maps = phases_held() + backward + (direct ? 0 : 1 + backward);
  const int64_t most =
      std::max(kHiddenBytes / (maps * grid.wide_floats * 4) / height * height, int64_t{height});
  int64_t row = 0;
  for (int64_t begin = 0; begin < shape.hidden;) {
    int64_t end = begin;
    while (end < shape.hidden && phase_of(end) == phase_of(begin)) ++end;
    const int64_t parts = (round_up(end - begin, height) + most - 1) / most,
                  each = round_up((end - begin + parts - 1) / parts, height);
    for (; begin < end; begin += chunks.back().count) {
      const int64_t count = std::min(each, end - begin);
      chunks.push_back({begin, count, row, round_up(count, height), phase_of(begin)});
      row += chunks.back().rows;
      chunk = std::max(chunk, chunks.back().rows);
    }
  }
  hidden_rows = row;
}

Packed::Packed(const Plan& p, bool backward) {
  const Shape& s = p.shape;
  std::vector<float> rows(s.hidden * s.width), columns(s.out * s.hidden);
  bias.resize(p.hidden_rows, 0.0f);
  expand.resize(p.hidden_rows * s.width);
  project.resize(p.out_rows * s.hidden);
  if (backward) expand_back.resize(p.in_rows * s.hidden), project_back.resize(p.hidden_rows * s.out);
  still.resize(p.hidden_rows), moved.resize(p.hidden_rows), back.resize(p.hidden_rows);
  for (int64_t m = 0; m < s.hidden; ++m) {
    const int64_t from = p.order[m];
    std::copy_n(&p.w.expand[from * s.width], s.width, &rows[m * s.width]);
    for (int64_t o = 0; o < s.out; ++o) columns[o * s.hidden + m] = p.w.project[o * s.hidden + from];
  }
  auto pack = [&](const float* weight, int64_t outputs, int64_t inputs, int64_t output_step,
                  int64_t input_step, float* to) {
    pack_planar(weight, outputs, inputs, output_step, input_step, p.height, p.w.operands, to);
  };
  for (const Chunk& c : p.chunks) {
    const float *const w1 = rows.data() + c.begin * s.width, *const w2 = columns.data() + c.begin;
    pack(w1, c.count, s.width, s.width, 1, &expand[c.row * s.width]);
    if (s.out > 0) pack(w2, s.out, c.count, s.hidden, 1, project.data() + p.out_rows * c.begin);
    if (backward) {
      pack(w1, s.width, c.count, 1, s.width, &expand_back[p.in_rows * c.begin]);
      if (s.out > 0) pack(w2, c.count, s.out, 1, s.hidden, project_back.data() + c.row * s.out);
    }
    for (int64_t k = 0; k < c.rows; ++k) {
      const auto place = static_cast<int32_t>(k * p.grid.wide_floats);
      still[c.row + k] = moved[c.row + k] = back[c.row + k] = place;
      if (k >= c.count) continue;
      bias[c.row + k] = p.w.bias[p.order[c.begin + k]];
      if (!p.direct) continue;
      const Tap& tap = p.w.taps[p.order[c.begin + k]][0];
      moved[c.row + k] = place + p.offset(tap);
      back[c.row + k] = static_cast<int32_t>(place - tap.y * p.grid.pitch - tap.x);
    }
  }
  sampled = strided(p.chunk, p.grid.narrow_floats);
  inputs = strided(p.in_rows, p.grid.narrow_floats);
  outputs = strided(p.out_rows, p.grid.narrow_floats);
  y_places = p.grid.places(s.out * s.H_out * s.W_out);
  dx_places = p.grid.places(s.channels * s.H * s.W);
}

}  // namespace fewshift::bottleneck
