// The sparse shift with stride 1 on channels_last maps of 16-bit numbers, through shared memory: a tile of
// pixels, 32 channels wide, with a margin around is read once, in whole sectors, whichever way its channels
// look. A channel that looks beyond the margin reads memory itself. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/shift_elements.h"

namespace fewshift::tiles {

using namespace elements;

constexpr int kThreads = 256;
constexpr int kMargin = 2;
constexpr int kEach = 8, kVectors = 4,
              kChannels = kEach * kVectors;  // of a pixel in a tile, by vectors of 16 bytes
constexpr int kPixels = 512;                 // of a tile and its margin, at most

// How maps are cut into tiles.
struct Grid {
  Geometry g;
  int rows, columns;             // of the result, in a tile
  Division by_groups;            // of channels, in a tile
  Division by_map, by_row;       // tiles of a map, and of a row of them
  Division by_columns, by_wide;  // pixels of a row in a tile, and with the margin
};
inline Grid grid_of(const Geometry& g) {
  constexpr int kMost = 28;
  const int across = (g.to_width + kMost - 1) / kMost, columns = (g.to_width + across - 1) / across;
  const int fit = kPixels / (columns + 2 * kMargin) - 2 * kMargin, down = (g.to_height + fit - 1) / fit;
  const int rows = (g.to_height + down - 1) / down;
  return {g,
          rows,
          columns,
          Division((g.channels + kChannels - 1) / kChannels),
          Division(down * across),
          Division(across),
          Division(columns),
          Division(columns + 2 * kMargin)};
}

struct Place {
  int64_t image;
  int row, column;  // of the tile's first pixel
};
__device__ __forceinline__ Place place_of(const Grid& grid, uint32_t tile) {
  const uint32_t image = grid.by_map(tile), in_map = tile - image * grid.by_map.divisor,
                 row = grid.by_row(in_map), column = in_map - row * grid.by_row.divisor;
  return {static_cast<int64_t>(image), static_cast<int>(row) * grid.rows,
          static_cast<int>(column) * grid.columns};
}

// Reads a tile of x with kMargin around it, zero outside of the map and of the channels.
template <class T>
__device__ __forceinline__ void fill(const T* x, const Grid& grid, const Place& at, int channel,
                                     uint4* tile) {
  const Geometry& g = grid.g;
  const int wide = grid.by_wide.divisor, vectors = (grid.rows + 2 * kMargin) * wide * kVectors;
  for (int k = threadIdx.x; k < vectors; k += kThreads) {
    const int vector = k % kVectors, pixel = k / kVectors;
    const int down = static_cast<int>(grid.by_wide(pixel));
    const int row = at.row - kMargin + down, column = at.column - kMargin + pixel - down * wide;
    const int first = channel + vector * kEach;
    const bool inside =
        row >= 0 && row < g.from_height && column >= 0 && column < g.from_width && first < g.channels;
    const T* const from = x + ((at.image * g.from_height + row) * g.from_width + column) * g.channels + first;
    tile[k] = inside ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
  }
}

// The channels of `far` at a pixel of the result, from memory.
template <bool kAdjoint, class T, class Real>
__device__ __noinline__ void read_far(const T* x, const Real* displacement, const Geometry& g,
                                      const Place& at, int i, int j, int channel, uint32_t far,
                                      Vector<T, kEach>& result) {
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    if ((far >> k & 1) == 0) continue;
    const auto move = move_of<1>(displacement, channel + k);
    const int row = source<kAdjoint, 1>(i, move.dy, g.from_height),
              column = source<kAdjoint, 1>(j, move.dx, g.from_width);
    result.at[k] =
        row >= 0 && column >= 0
            ? x[((at.image * g.from_height + row) * g.from_width + column) * g.channels + channel + k]
            : T(0);
  }
}

__device__ __forceinline__ bool is_near(int dy, int dx) {
  return dy >= -kMargin && dy <= kMargin && dx >= -kMargin && dx <= kMargin;
}

// The sparse shift. Blocks: tiles, and within each, groups of channels, which share cache lines. A thread
// writes kEach channels of a pixel.
template <bool kAdjoint, class T, class Real>
__global__ void __launch_bounds__(kThreads) sparse(const T* x, T* y, const Real* displacement, Grid grid) {
  __shared__ uint4 tile[kPixels * kVectors];
  const Geometry& g = grid.g;
  const uint32_t number = grid.by_groups(blockIdx.x);
  const Place at = place_of(grid, number);
  const int first = (blockIdx.x - number * grid.by_groups.divisor) * kChannels;
  fill(x, grid, at, first, tile);
  const int wide = grid.by_wide.divisor;
  const int vector = threadIdx.x % kVectors, channel = first + vector * kEach;
  const bool mine = channel < g.channels;
  int offsets[kEach];
  uint32_t far = 0;  // a bit a channel
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    auto move = move_of<1>(displacement, mine ? channel + k : 0);
    if (kAdjoint) move.dy = -move.dy, move.dx = -move.dx;
    if (!is_near(move.dy, move.dx)) far |= 1u << k, move.dy = move.dx = 0;
    offsets[k] = ((move.dy + kMargin) * wide + move.dx + kMargin) * kChannels + vector * kEach + k;
  }
  __syncthreads();
  if (!mine) return;
  const T* const values = reinterpret_cast<const T*>(tile);
  const int rows = min(grid.rows, g.to_height - at.row), columns = min(grid.columns, g.to_width - at.column);
  T* const to = y + ((at.image * g.to_height + at.row) * g.to_width + at.column) * g.channels + channel;
#pragma unroll 2
  for (int p = threadIdx.x / kVectors; p < grid.rows * grid.columns; p += kThreads / kVectors) {
    const int row = static_cast<int>(grid.by_columns(p)), column = p - row * grid.columns;
    if (row >= rows || column >= columns) continue;
    const T* const from = values + (row * wide + column) * kChannels;
    Vector<T, kEach> result;
#pragma unroll
    for (int k = 0; k < kEach; ++k) result.at[k] = from[offsets[k]];
    if (far != 0)
      read_far<kAdjoint>(x, displacement, g, at, at.row + row, at.column + column, channel, far, result);
    *reinterpret_cast<Vector<T, kEach>*>(to + (row * g.to_width + column) * g.channels) = result;
  }
}

}  // namespace fewshift::tiles
