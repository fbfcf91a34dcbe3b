// Row kernels of the sparse shift for channels_last: a pixel's channels lie side by side.
//
// Channels that do not move are copied together, pixel by pixel; those that do are then fetched one by one.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstring>
#include <type_traits>

#include "core/target_clones.h"
#include "ops/shift_geometry.h"

namespace fewshift {

// One row of one run of channels. C: channels of a pixel, both sides.
template <class T>
void copy_run(const T* from, T* to, const Span& span, int64_t count, int64_t C) {
  to += span.to * C;
  from += span.from * C;
  const int64_t to_step = span.to_step * C, from_step = span.from_step * C;
  for (int64_t k = 0; k < span.count; ++k) {
    for (int64_t c = 0; c < count; ++c) to[k * to_step + c] = from[k * from_step + c];
  }
}

template <class T>
void clear_run(T* to, int64_t begin, int64_t end, int64_t count, int64_t C) {
  for (int64_t k = begin; k < end; ++k) std::fill_n(to + k * C, count, T(0));
}

// Where one channel of a pixel goes, and where it comes from.
struct Entry {
  int64_t to, from;
};

// Pixel by pixel, so that memory is walked in its own order however many directions the channels take. Where
// `still` is given, its C channels are copied first, as a whole.
template <class T, class W>
void gather_pixels(const T* from, W* to, int64_t pixels, int64_t from_step, int64_t to_step,
                   const std::vector<Entry>& entries, const T* still = nullptr, int64_t C = 0) {
  const Entry* const begin = entries.data();
  const Entry* const end = begin + entries.size();
  for (int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step) {
    if (still) {
      std::memcpy(static_cast<void*>(to), still, C * sizeof(T));
      still += from_step;
    }
    for (const Entry* e = begin; e != end; ++e) to[e->to] = W(from[e->from]);
  }
}

struct MovedRun {
  Run run;
  Span span;
};

inline bool is_near(Shift shift) {
  return std::abs(shift.dx) <= 4;
}  // farther ones leave few columns that all share

// What a row needs to know of all channels of an image.
struct Rows {
  Map map;
  int64_t C;
  bool any_still = false;
  std::vector<MovedRun> moved;
  int64_t lo = 0, hi;  // columns of the target that every near run covers (forward alone)

  Rows(const Map& map_, const std::vector<Shift>& shifts)
      : map(map_), C(static_cast<int64_t>(shifts.size())), hi(map_.to.width) {
    for (const Run& run : runs_of(shifts)) {
      if (run.shift == Shift{0, 0}) {
        any_still = true;
        continue;
      }
      moved.push_back({run, columns(map, run.shift.dx)});
      if (!is_near(run.shift)) continue;
      lo = std::max(lo, moved.back().span.to);
      hi = std::min(hi, moved.back().span.to + moved.back().span.count);
    }
    hi = std::max(lo, hi);
  }
};

inline Span part(const Span& span, int64_t begin,
                 int64_t end) {  // target columns [begin, end) of a forward span
  begin = std::max(begin, span.to);
  end = std::min(end, span.to + span.count);
  return {begin, span.from + (begin - span.to) * span.from_step, std::max<int64_t>(0, end - begin), 1,
          span.from_step};
}

// Forward. Row `i` of the target for one image, x: [from.height][from.width][C], to: [to.width][C].
template <class T>
void shift_row_nhwc(const T* x, T* to, int64_t i, const Rows& rows, std::vector<Entry>& entries) {
  const Map& map = rows.map;
  const int64_t C = rows.C, width = map.to.width, from_row = map.from.width * C;
  const Span all{0, 0, width, 1, map.stride};
  const T* still = rows.any_still ? x + map.source_row(i, 0) * from_row : nullptr;
  if (still) {
    copy_run(still, to, part(all, 0, rows.lo), C, C);
    copy_run(still, to, part(all, rows.hi, width), C, C);
  }
  entries.clear();
  for (const auto& [run, span] : rows.moved) {
    const int64_t row = map.source_row(i, run.shift.dy);
    if (row < 0 || !is_near(run.shift)) continue;
    const int64_t from = row * from_row + part(span, rows.lo, rows.hi).from * C;
    for (int64_t c = run.begin; c < run.begin + run.count; ++c) entries.push_back({c, from + c});
  }
  gather_pixels(x, to + rows.lo * C, rows.hi - rows.lo, map.stride * C, C, entries,
                still ? still + rows.lo * map.stride * C : nullptr, C);
  for (const auto& [run, span] : rows.moved) {
    const int64_t row = map.source_row(i, run.shift.dy);
    T* target = to + run.begin;
    if (row < 0) {
      clear_run(target, 0, width, run.count, C);
      continue;
    }
    const int64_t lo = is_near(run.shift) ? rows.lo : width, hi = is_near(run.shift) ? rows.hi : width;
    clear_run(target, 0, span.to, run.count, C);
    clear_run(target, span.to + span.count, width, run.count, C);
    copy_run(x + row * from_row + run.begin, target, part(span, 0, lo), run.count, C);
    copy_run(x + row * from_row + run.begin, target, part(span, hi, width), run.count, C);
  }
}

// The adjoint of stride 2, where most of the target is zero.
template <class T>
void spread_row_nhwc(const T* x, T* to, int64_t i, const Rows& rows) {
  const Map& map = rows.map;
  const int64_t C = rows.C, width = map.to.width, from_row = map.from.width * C;
  const int64_t still_row = rows.any_still ? map.source_row(i, 0) : -1;
  std::memset(static_cast<void*>(to), 0, width * C * sizeof(T));
  if (still_row >= 0) copy_run(x + still_row * from_row, to, columns(map, 0), C, C);
  for (const auto& [run, span] : rows.moved) {
    const int64_t row = map.source_row(i, run.shift.dy);
    clear_run(to + run.begin, 0, width, run.count, C);
    if (row >= 0) copy_run(x + row * from_row + run.begin, to + run.begin, span, run.count, C);
  }
}

// ---- The gradient for the displacement: four correlations a channel, S(k,l) = sum of dy * Z(k,l). ----

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

// z[p][c] = x[row + dy_c][p + dx_c] for p in [0, width]: one row of x with each channel at its corner.
template <class T, class W>
void gather_row(const T* x, Size image, int64_t C, int64_t row, const std::vector<Run>& runs,
                std::vector<Entry>& entries, W* z) {
  const int64_t columns = image.width + 1;
  int64_t lo = 0, hi = columns;  // the columns that every near run covers
  for (const Run& run : runs) {
    if (!is_near(run.shift)) continue;
    lo = std::max(lo, -run.shift.dx);
    hi = std::min(hi, image.width - run.shift.dx);
  }
  hi = std::max(lo, hi);
  entries.clear();
  for (const Run& run : runs) {
    const int64_t source = row + run.shift.dy;
    int64_t begin = std::clamp<int64_t>(-run.shift.dx, 0, columns);
    int64_t end = std::clamp<int64_t>(image.width - run.shift.dx, begin, columns);
    if (source < 0 || source >= image.height) begin = end = columns;
    W* to = z + run.begin;
    clear_run(to, 0, begin, run.count, C);
    clear_run(to, end, columns, run.count, C);
    if (begin == end) continue;
    const int64_t offset = (source * image.width + run.shift.dx) * C + run.begin;
    auto copy = [&](int64_t from, int64_t until) {
      for (int64_t p = from; p < until; ++p) {
        for (int64_t c = 0; c < run.count; ++c) to[p * C + c] = W(x[offset + p * C + c]);
      }
    };
    if (!is_near(run.shift) || hi == lo) {
      copy(begin, end);
      continue;
    }
    copy(begin, lo);
    copy(hi, end);
    for (int64_t c = 0; c < run.count; ++c) {
      entries.push_back({lo * C + run.begin + c, offset + lo * C + c});
    }
  }
  gather_pixels(x, z, hi - lo, C, C, entries);
}

// taps[4][C] += over a row of the output, dy: [width][C]; z0, z1: rows of gather_row, read at stride * j and
// + 1.
template <class W>
inline __attribute__((always_inline)) void correlate_row_any(const W* dy, const W* z0, const W* z1,
                                                             int64_t width, int64_t stride, int64_t C,
                                                             double* taps) {
  constexpr int64_t kLanes = 64 / sizeof(W);
  typedef W Vector __attribute__((vector_size(64), aligned(sizeof(W)), may_alias));
  const auto load = [](const W* p) __attribute__((always_inline))->const Vector& {
    return *reinterpret_cast<const Vector*>(p);
  };
  const int64_t step = stride * C;
  int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) {
    Vector s[4] = {};
    for (int64_t j = 0; j < width; ++j) {
      const Vector d = load(dy + j * C + c);
      s[0] += d * load(z0 + j * step + c);
      s[1] += d * load(z0 + j * step + C + c);
      s[2] += d * load(z1 + j * step + c);
      s[3] += d * load(z1 + j * step + C + c);
    }
    for (int t = 0; t < 4; ++t) {
      for (int64_t lane = 0; lane < kLanes; ++lane) taps[t * C + c + lane] += s[t][lane];
    }
  }
  for (; c < C; ++c) {
    W s[4] = {};
    for (int64_t j = 0; j < width; ++j) {
      const W d = dy[j * C + c];
      s[0] += d * z0[j * step + c];
      s[1] += d * z0[j * step + C + c];
      s[2] += d * z1[j * step + c];
      s[3] += d * z1[j * step + C + c];
    }
    for (int t = 0; t < 4; ++t) taps[t * C + c] += s[t];
  }
}

FEWSHIFT_CLONES inline void correlate_row(const float* dy, const float* z0, const float* z1, int64_t width,
                                          int64_t stride, int64_t C, double* taps) {
  correlate_row_any(dy, z0, z1, width, stride, C, taps);
}
inline void correlate_row(const double* dy, const double* z0, const double* z1, int64_t width, int64_t stride,
                          int64_t C, double* taps) {
  correlate_row_any(dy, z0, z1, width, stride, C, taps);
}

// One image, dy: [H'][W'][C], x: [H][W][C]; taps: [4][C].
template <class T>
void correlate_image_nhwc(const T* dy, const T* x, const Map& map, int64_t C, const std::vector<Run>& runs,
                          double* taps) {
  using W = Wide<T>;
  const Size image = map.from, out = map.to;
  const int64_t z_size = (image.width + 2) * C;
  std::vector<Entry> entries;
  std::vector<W> z(2 * z_size), wide(std::is_same_v<T, W> ? 0 : out.width * C);
  int64_t held[2] = {-1, -1};  // which row of x each half of z holds
  auto row_at = [&](int64_t row) {
    W* half = z.data() + (row % 2) * z_size;
    if (held[row % 2] != row) gather_row(x, image, C, row, runs, entries, half);
    held[row % 2] = row;
    return half;
  };
  for (int64_t i = 0; i < out.height; ++i) {
    const W* z0 = row_at(map.stride * i);
    const W* z1 = row_at(map.stride * i + 1);
    const T* from = dy + i * out.width * C;
    if constexpr (std::is_same_v<T, W>) {
      correlate_row(from, z0, z1, out.width, map.stride, C, taps);
    } else {
      for (int64_t k = 0; k < out.width * C; ++k) wide[k] = W(from[k]);
      correlate_row(wide.data(), z0, z1, out.width, map.stride, C, taps);
    }
  }
}

}  // namespace fewshift
