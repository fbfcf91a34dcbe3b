// The shift operators' kernels on a GPU, written for one thread: which element it reads and writes. They run
// on the CPU as well, for tests. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define FEWSHIFT_DEVICE __host__ __device__ __forceinline__
#define FEWSHIFT_PRAGMA(text) _Pragma(#text)
#define FEWSHIFT_UNROLL(times) FEWSHIFT_PRAGMA(unroll times)
#else
#define FEWSHIFT_DEVICE inline
#define FEWSHIFT_UNROLL(times)
#endif

namespace fewshift::elements {

// Division by a number known beforehand, of numbers below 2^31 (Granlund and Montgomery, PLDI 1994).
struct Division {
  uint32_t divisor = 1, multiplier = 1, shift = 0;
  Division() = default;
  explicit Division(uint32_t by) : divisor(by) {
    while ((uint64_t{1} << shift) < by) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - by)) / by + 1);
  }
  FEWSHIFT_DEVICE uint32_t operator()(uint32_t n) const {
#ifdef __CUDA_ARCH__
    return (__umulhi(n, multiplier) + n) >> shift;
#else
    return static_cast<uint32_t>((((uint64_t{n} * multiplier) >> 32) + n) >> shift);
#endif
  }
};

// What is read and what is written: [N,C,H,W] each. Forward, what is read is kStride times as large; the
// adjoint reads the small one.
struct Geometry {
  int channels, from_height, from_width, to_height, to_width;
  FEWSHIFT_DEVICE int from_size() const { return from_height * from_width; }
  FEWSHIFT_DEVICE int to_size() const { return to_height * to_width; }
};

// The row (or column) that is read for row i of the result, or -1.
template <bool kAdjoint, int kStride>
FEWSHIFT_DEVICE int source(int i, int moved, int extent) {
  const int at = kAdjoint ? i - moved : kStride * i + moved;
  if (at < 0 || (kAdjoint && at % kStride != 0)) return -1;
  const int row = kAdjoint ? at / kStride : at;
  return row < extent ? row : -1;
}

// A channel's move. One tap: to the nearest whole pixel, half to even. Four: the corner above and left, and
// the bilinear weights of (0,0), (0,1), (1,0), (1,1) from there.
template <int kTaps, class Real>
struct Move {
  int dy, dx;
  Real weights[kTaps];
};

constexpr int kFar = 1 << 20;  // whatever leaves any image, NaN too

template <class Real>
FEWSHIFT_DEVICE int whole(Real value, Real rounded) {
  return std::fabs(value) < kFar ? static_cast<int>(rounded) : kFar;
}
template <class Real>
FEWSHIFT_DEVICE Real fraction(Real value) {  // 0 for infinities and NaN, whose channels read zeros alone
  const Real f = value - std::floor(value);
  return f >= 0 ? f : 0;
}

template <int kTaps, class Real>
FEWSHIFT_DEVICE Move<kTaps, Real> move_of(const Real* displacement, int channel) {
  const Real y = displacement[2 * channel], x = displacement[2 * channel + 1];
  Move<kTaps, Real> move;
  if constexpr (kTaps == 1) {
    move.dy = whole(y, std::rint(y)), move.dx = whole(x, std::rint(x)), move.weights[0] = 1;
  } else {
    const Real p = fraction(y), q = fraction(x);
    move.dy = whole(y, std::floor(y)), move.dx = whole(x, std::floor(x));
    move.weights[0] = (1 - p) * (1 - q), move.weights[1] = (1 - p) * q;
    move.weights[2] = p * (1 - q), move.weights[3] = p * q;
  }
  return move;
}

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T at[kCount];
};
template <class T, int kCount>
FEWSHIFT_DEVICE void copy(const T* from, T* to) {
  *reinterpret_cast<Vector<T, kCount>*>(to) = *reinterpret_cast<const Vector<T, kCount>*>(from);
}

// The sparse shift, contiguous: a thread writes 16 bytes.
template <class T, class Real, bool kAdjoint, int kStride>
struct Planes {
  static constexpr int kCount = 16 / sizeof(T);
  const T* x;
  T* y;
  const Real* displacement;
  Geometry g;
  uint32_t elements;  // of the result
  bool aligned;       // x, to 16 bytes
  Division by_plane, by_row, by_channels;

  FEWSHIFT_DEVICE void operator()(uint32_t thread) const {
    const uint32_t first = thread * kCount;
    if (first >= elements) return;
    const uint32_t plane = by_plane(first), in_plane = first - plane * by_plane.divisor;
    int i = static_cast<int>(by_row(in_plane)), j = static_cast<int>(in_plane) - i * g.to_width;
    int channel = static_cast<int>(plane - by_channels(plane) * by_channels.divisor);
    auto move = move_of<1>(displacement, channel);
    if (aligned && kStride == 1 && move.dy == 0 && move.dx == 0 && in_plane + kCount <= by_plane.divisor)
      return copy<T, kCount>(x + first, y + first);
    const T* map = x + static_cast<int64_t>(plane) * g.from_size();
    const uint32_t count = elements - first < kCount ? elements - first : kCount;
    Vector<T, kCount> values;
    FEWSHIFT_UNROLL()
    for (int k = 0; k < kCount; ++k) {
      if (k >= static_cast<int>(count)) break;
      const int row = source<kAdjoint, kStride>(i, move.dy, g.from_height),
                column = source<kAdjoint, kStride>(j, move.dx, g.from_width);
      values.at[k] = row >= 0 && column >= 0 ? map[row * g.from_width + column] : T(0);
      if (++j < g.to_width) continue;
      j = 0;
      if (++i < g.to_height) continue;
      i = 0, map += g.from_size();
      channel = channel + 1 < g.channels ? channel + 1 : 0;
      move = move_of<1>(displacement, channel);
    }
    if (count == kCount) {
      *reinterpret_cast<Vector<T, kCount>*>(y + first) = values;
    } else {
      for (uint32_t k = 0; k < count; ++k) y[first + k] = values.at[k];
    }
  }
};

// The sparse shift, channels_last: a thread writes kCount neighbouring channels of a row of the result.
template <class T, class Real, bool kAdjoint, int kStride, int kCount>
struct Rows {
  static constexpr int kAhead = 8;  // pixels read before the first is written
  const T* x;
  T* y;
  const Real* displacement;
  Geometry g;
  uint32_t rows;  // of the result, all images'
  Division by_height;

  FEWSHIFT_DEVICE void operator()(int channel, uint32_t row) const {
    if (channel >= g.channels || row >= rows) return;
    const uint32_t image = by_height(row);
    const int i = static_cast<int>(row - image * by_height.divisor);
    const T* maps[kCount];
    int dx[kCount], width[kCount];  // 0 where the row lies outside
    bool together = true;
    FEWSHIFT_UNROLL()
    for (int k = 0; k < kCount; ++k) {
      const auto move = move_of<1>(displacement, channel + k);
      const int from = source<kAdjoint, kStride>(i, move.dy, g.from_height);
      maps[k] = x +
                (static_cast<int64_t>(image) * g.from_size() + int64_t{from} * g.from_width) * g.channels +
                channel + k;
      dx[k] = move.dx, width[k] = from >= 0 ? g.from_width : 0;
      together = together && dx[k] == dx[0] && maps[k] == maps[0] + k;
    }
    T* const to = y + static_cast<int64_t>(row) * g.to_width * g.channels + channel;
    if (kCount > 1 && together) {
      walk<true>(maps, dx, width, to);
    } else {
      walk<false>(maps, dx, width, to);
    }
  }

  template <bool kTogether>
  FEWSHIFT_DEVICE void walk(const T* const (&maps)[kCount], const int (&dx)[kCount],
                            const int (&width)[kCount], T* to) const {
    using Values = Vector<T, kCount>;
    for (int begin = 0; begin < g.to_width; begin += kAhead) {
      Values values[kAhead];
      FEWSHIFT_UNROLL()
      for (int p = 0; p < kAhead; ++p) {
        const int j = begin + p;
        if (j >= g.to_width) break;
        if constexpr (kTogether) {
          const int column = source<kAdjoint, kStride>(j, dx[0], width[0]);
          values[p] =
              column >= 0 ? *reinterpret_cast<const Values*>(maps[0] + column * g.channels) : Values{};
        } else {
          FEWSHIFT_UNROLL()
          for (int k = 0; k < kCount; ++k) {
            const int column = source<kAdjoint, kStride>(j, dx[k], width[k]);
            values[p].at[k] = column >= 0 ? maps[k][column * g.channels] : T(0);
          }
        }
      }
      FEWSHIFT_UNROLL()
      for (int p = 0; p < kAhead; ++p) {
        if (begin + p < g.to_width) *reinterpret_cast<Values*>(to + (begin + p) * g.channels) = values[p];
      }
    }
  }
};

// Four pixels at a channel's corner, (0,0), (0,1), (1,0), (1,1), on their way along one side of a map: those
// that lie on the edge between two steps are read once. `along` is the side walked (0: down the rows, 1:
// along the columns), `step` elements a pixel in that direction, `across` in the other.
template <class T, class Real, bool kAdjoint, int kStride>
struct Corners {
  const T* map;  // of the channel
  int along_step, across_step, along_extent, moved;
  int across[2];  // what is read on the other side, or -1
  Real z[2][2];   // [along][across]

  FEWSHIFT_DEVICE Corners(const T* map_, int along_step_, int across_step_, int along_extent_,
                          int along_moved, int across_extent, int across_moved, int at_across)
      : map(map_),
        along_step(along_step_),
        across_step(across_step_),
        along_extent(along_extent_),
        moved(along_moved),
        z{} {
    FEWSHIFT_UNROLL()
    for (int l = 0; l < 2; ++l)
      across[l] = source<kAdjoint, kStride>(at_across, across_moved + l, across_extent);
  }
  FEWSHIFT_DEVICE void read(int k, int at) {
    const int along = source<kAdjoint, kStride>(at, moved + k, along_extent);
    FEWSHIFT_UNROLL()
    for (int l = 0; l < 2; ++l)
      z[k][l] = along >= 0 && across[l] >= 0
                    ? static_cast<Real>(map[along * along_step + across[l] * across_step])
                    : Real(0);
  }
  // Before the first move_to.
  FEWSHIFT_DEVICE void start(int at) {
    if (kStride == 1) read(kAdjoint ? 0 : 1, at - 1);
  }
  FEWSHIFT_DEVICE void move_to(int at) {
    constexpr int kNew = kAdjoint ? 0 : 1, kOld = 1 - kNew;
    if (kStride == 1) {
      z[kOld][0] = z[kNew][0], z[kOld][1] = z[kNew][1];
    } else {
      read(kOld, at);
    }
    read(kNew, at);
  }
};

// The active shift. kChannelsLast: a thread writes a row of one channel; else a column of one plane.
template <class T, class Real, bool kAdjoint, int kStride, bool kChannelsLast>
struct Interpolated {
  const T* x;
  T* y;
  const Real* displacement;
  Geometry g;
  uint32_t lines;                 // rows of the result, all images'; or columns of all planes
  Division by_side, by_channels;  // by_side: the result's height; or width

  FEWSHIFT_DEVICE void operator()(int channel, uint32_t line) const {
    if (line >= lines || (kChannelsLast && channel >= g.channels)) return;
    const uint32_t map = by_side(line);  // an image; or a plane
    const int at = static_cast<int>(line - map * by_side.divisor);
    if (!kChannelsLast) channel = static_cast<int>(map - by_channels(map) * by_channels.divisor);
    const auto move = move_of<4>(displacement, channel);
    Corners<T, Real, kAdjoint, kStride> c =
        kChannelsLast
            ? Corners<T, Real, kAdjoint, kStride>(
                  x + static_cast<int64_t>(map) * g.from_size() * g.channels + channel, g.channels,
                  g.from_width * g.channels, g.from_width, move.dx, g.from_height, move.dy, at)
            : Corners<T, Real, kAdjoint, kStride>(x + static_cast<int64_t>(map) * g.from_size(), g.from_width,
                                                  1, g.from_height, move.dy, g.from_width, move.dx, at);
    const int step = kChannelsLast ? g.channels : g.to_width,
              length = kChannelsLast ? g.to_width : g.to_height;
    T* const to = kChannelsLast ? y + static_cast<int64_t>(line) * g.to_width * g.channels + channel
                                : y + static_cast<int64_t>(map) * g.to_size() + at;
    // Weights are [dy][dx], pixels [along][across].
    const Real w01 = move.weights[kChannelsLast ? 2 : 1], w10 = move.weights[kChannelsLast ? 1 : 2];
    c.start(0);
    FEWSHIFT_UNROLL(4)
    for (int k = 0; k < length; ++k) {
      c.move_to(k);
      to[k * step] = static_cast<T>(move.weights[0] * c.z[0][0] + w01 * c.z[0][1] + w10 * c.z[1][0] +
                                    move.weights[3] * c.z[1][1]);
    }
  }
};

// The displacement's gradient of a line of a channel, likewise: sums += (dy's, dx's). `grad` and `x` at the
// image (kChannelsLast) or the plane; `at`: the row, or the column.
template <bool kChannelsLast, int kStride, class T, class Real>
FEWSHIFT_DEVICE void add_gradient(const T* grad, const T* x, int at, Real u_y, Real u_x, const Geometry& g,
                                  Real (&sums)[2]) {
  const int dy = whole(u_y, std::floor(u_y)), dx = whole(u_x, std::floor(u_x));
  const Real p = fraction(u_y), q = fraction(u_x);
  using Walk = Corners<T, Real, false, kStride>;
  Walk c = kChannelsLast
               ? Walk(x, g.channels, g.from_width * g.channels, g.from_width, dx, g.from_height, dy, at)
               : Walk(x, g.from_width, 1, g.from_height, dy, g.from_width, dx, at);
  const int step = kChannelsLast ? g.channels : g.to_width, length = kChannelsLast ? g.to_width : g.to_height;
  const T* const from = grad + (kChannelsLast ? at * g.to_width * g.channels : at);
  Real along = 0, across = 0;
  const Real by_across = kChannelsLast ? p : q, by_along = kChannelsLast ? q : p;
  c.start(0);
  FEWSHIFT_UNROLL(4)
  for (int k = 0; k < length; ++k) {
    c.move_to(k);
    const Real value = static_cast<Real>(from[k * step]);
    along += value * ((1 - by_across) * (c.z[1][0] - c.z[0][0]) + by_across * (c.z[1][1] - c.z[0][1]));
    across += value * ((1 - by_along) * (c.z[0][1] - c.z[0][0]) + by_along * (c.z[1][1] - c.z[1][0]));
  }
  sums[0] += kChannelsLast ? across : along, sums[1] += kChannelsLast ? along : across;
}

}  // namespace fewshift::elements
