// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

// A tile of pixels x blocks keeps its sums in registers: 28 of 32, or 12 of 16.
constexpr int kSums = kManyRegisters ? 28 : 12;
constexpr int kWidth = kSums / 2;  // pixels of the widest
constexpr int kHeight = 8;         // blocks of the highest
constexpr int64_t kTogether = 12;  // blocks whose weights stay in the cache while columns go by
// Inputs added up in one go, where there are more than kMost: their weights for a tile, and its pixels, stay
// in the nearest cache.
constexpr int64_t kInputs = 160, kMost = 256;
constexpr int64_t kBandFloats = 48 * 1024;  // of a band of rows, in and out, which stays in the second cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int highest(int width) {
  return std::min(kSums / width, kHeight);
}

// What a tile adds up: some blocks, of some inputs.
struct Span {
  const float *weights, *bias;
  int64_t begin, end;  // inputs
  float low, high;
};

// For `rows` rows, from x and y's float `at` on.
template <int kPixels, int kBlocks, bool kDense>
HWY_NOINLINE void tile(const Pointwise& args, const Span& span, const float* x, int64_t at, int64_t rows) {
  const D d;
  const int64_t block = args.inputs * kLanes;  // from one block's weights to the next one's
  const int64_t step = kDense ? kLanes : args.x_pixel;
  const int32_t* const offsets = args.offsets + span.begin;
  const int32_t* const end = args.offsets + span.end;
  const bool first = span.begin == 0;
  const float* more = first ? args.residual : args.y;
  for (int64_t row = 0; row < rows; ++row, x += args.x_row, at += args.y_row) {
    Vector sums[kPixels][kBlocks];
#pragma GCC unroll 16
    for (int b = 0; b < kBlocks; ++b) {
      const Vector start = first ? hn::LoadU(d, span.bias + b * kLanes) : hn::Zero(d);
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) sums[p][b] = start;
    }
    if (more) {
#pragma GCC unroll 16
      for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p)
          sums[p][b] = hn::Add(sums[p][b], hn::LoadU(d, more + at + b * args.y_block + p * kLanes));
      }
    }
    const float* weights = span.weights + span.begin * kLanes;
#pragma GCC unroll 4
    for (const int32_t* k = offsets; k < end; ++k, weights += kLanes) {
      const float* HWY_RESTRICT from = x + *k;
      if constexpr (kPixels >= kBlocks) {
        Vector w[kBlocks];
#pragma GCC unroll 16
        for (int b = 0; b < kBlocks; ++b) w[b] = hn::LoadU(d, weights + b * block);
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) {
          const Vector value = hn::Set(d, from[p * step]);
#pragma GCC unroll 16
          for (int b = 0; b < kBlocks; ++b) sums[p][b] = hn::MulAdd(value, w[b], sums[p][b]);
        }
      } else {
        Vector value[kPixels];
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) value[p] = hn::Set(d, from[p * step]);
#pragma GCC unroll 16
        for (int b = 0; b < kBlocks; ++b) {
          const Vector w = hn::LoadU(d, weights + b * block);
#pragma GCC unroll 16
          for (int p = 0; p < kPixels; ++p) sums[p][b] = hn::MulAdd(value[p], w, sums[p][b]);
        }
      }
    }
    const Vector low = hn::Set(d, span.low), high = hn::Set(d, span.high);
    float* y = args.y + at;
#pragma GCC unroll 16
    for (int b = 0; b < kBlocks; ++b, y += args.y_block) {
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) hn::StoreU(clamp(sums[p][b], low, high), d, y + p * kLanes);
    }
  }
}

using Tile = void (*)(const Pointwise&, const Span&, const float*, int64_t, int64_t);

template <int kPixels, bool kDense, int... kBlocks>
constexpr std::array<Tile, kHeight> tiles_of(std::integer_sequence<int, kBlocks...>) {
  return {tile<kPixels, kBlocks + 1, kDense>...};
}
// [pixels - 1][blocks - 1]
template <bool kDense, int... kPixels>
constexpr std::array<std::array<Tile, kHeight>, kWidth> tiles(std::integer_sequence<int, kPixels...>) {
  return {tiles_of<kPixels + 1, kDense>(std::make_integer_sequence<int, highest(kPixels + 1)>())...};
}

void pointwise(const Pointwise& args, const Part& part) {
  static constexpr auto kDense = tiles<true>(std::make_integer_sequence<int, kWidth>()),
                        kStrided = tiles<false>(std::make_integer_sequence<int, kWidth>());
  const auto& all = args.x_pixel == kLanes ? kDense : kStrided;
  const int64_t parts = (args.columns + kWidth - 1) / kWidth;
  const int64_t chunks = args.inputs <= kMost ? 1 : (args.inputs + kInputs - 1) / kInputs;
  const int64_t row_floats = args.columns * (args.inputs / chunks + kTogether * kLanes);
  const int64_t most = std::max<int64_t>(kBandFloats / row_floats, 1), rows = part.row_end - part.row_begin,
                bands = (rows + most - 1) / most;
  for (int64_t r = 0; r < bands; ++r) {
    const int64_t row = part.row_begin + r * rows / bands, row_end = part.row_begin + (r + 1) * rows / bands;
    for (int64_t begin = part.block_begin; begin < part.block_end; begin += kTogether) {
      const int64_t blocks = std::min(kTogether, part.block_end - begin);
      for (int64_t c = 0; c < chunks; ++c) {
        for (int64_t p = 0; p < parts; ++p) {  // of nearly equal widths
          const int64_t j = p * args.columns / parts, width = (p + 1) * args.columns / parts - j;
          const int64_t high = highest(static_cast<int>(width)), layers = (blocks + high - 1) / high;
          for (int64_t l = 0; l < layers; ++l) {
            const int64_t b = begin + l * blocks / layers, height = begin + (l + 1) * blocks / layers - b;
            const Tile compute = all[width - 1][height - 1];
            const bool last = c + 1 == chunks;
            const Span span{args.weights + b * args.inputs * kLanes,
                            args.bias + b * kLanes,
                            c * args.inputs / chunks,
                            (c + 1) * args.inputs / chunks,
                            last ? args.low : -kInfinity,
                            last ? args.high : kInfinity};
            compute(args, span, args.x + row * args.x_row + j * args.x_pixel,
                    b * args.y_block + row * args.y_row + j * kLanes, row_end - row);
          }
        }
      }
    }
  }
}

}  // namespace

void fill_pointwise(Kernels& kernels) {
  kernels.lanes = kLanes;
  kernels.pointwise = pointwise;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
