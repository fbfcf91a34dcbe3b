// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/pointwise.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using Vector = hn::Vec<D>;

constexpr int kLanes = hn::MaxLanes(D());
// A tile of kPixels x kBlocks vectors of sums stays in registers: 28 of 32, or 12 of 16.
constexpr int kBlocks = 2, kPixels = HWY_MAX_BYTES == 64 ? 14 : 6;

// kBlocks at most of outputs, of kWidth neighbours in a row. kStep: floats between what they read, 0:
// args.x_pixel.
template <int kWidth, int kHeight, int kStep>
HWY_NOINLINE void tile(const Pointwise& args, const float* x, const float* weights, const float* bias,
                       int64_t at) {
  const D d;
  Vector sums[kWidth][kHeight];
#pragma GCC unroll 16
  for (int b = 0; b < kHeight; ++b) {
    const Vector start = hn::LoadU(d, bias + b * kLanes);
#pragma GCC unroll 16
    for (int p = 0; p < kWidth; ++p) sums[p][b] = start;
  }
  const int64_t step = kStep > 0 ? kStep : args.x_pixel;
  const int32_t* HWY_RESTRICT offsets = args.offsets;
  for (int64_t k = 0; k < args.inputs; ++k, weights += kBlocks * kLanes) {
    const float* HWY_RESTRICT from = x + offsets[k];
    Vector w[kHeight];
#pragma GCC unroll 16
    for (int b = 0; b < kHeight; ++b) w[b] = hn::LoadU(d, weights + b * kLanes);
#pragma GCC unroll 16
    for (int p = 0; p < kWidth; ++p) {
      const Vector value = hn::Set(d, from[p * step]);
#pragma GCC unroll 16
      for (int b = 0; b < kHeight; ++b) sums[p][b] = hn::MulAdd(value, w[b], sums[p][b]);
    }
  }
  const Vector low = hn::Set(d, args.low), high = hn::Set(d, args.high);
#pragma GCC unroll 16
  for (int p = 0; p < kWidth; ++p) {
#pragma GCC unroll 16
    for (int b = 0; b < kHeight; ++b) {
      const int64_t place = at + b * args.y_block + p * kLanes;
      Vector sum = sums[p][b];
      if (args.residual) sum = hn::Add(sum, hn::LoadU(d, args.residual + place));
      hn::StoreU(hn::Min(hn::Max(sum, low), high), d, args.y + place);
    }
  }
}

using Tile = void (*)(const Pointwise&, const float*, const float*, const float*, int64_t);

template <int kHeight, int kStep, int... kWidths>
const Tile* tiles(std::integer_sequence<int, kWidths...>) {
  static constexpr Tile kTiles[] = {tile<kWidths + 1, kHeight, kStep>...};
  return kTiles;
}

template <int kHeight>
const Tile* tiles(int64_t step) {
  constexpr auto kWidths = std::make_integer_sequence<int, kPixels>();
  if (step == kLanes) return tiles<kHeight, kLanes>(kWidths);
  if (step == 2 * kLanes) return tiles<kHeight, 2 * kLanes>(kWidths);
  return tiles<kHeight, 0>(kWidths);
}

// The weights of a tile of outputs stay in the cache while the rows go by.
void pointwise(const Pointwise& args, int64_t from, int64_t to) {
  const Tile *whole = tiles<kBlocks>(args.x_pixel), *one = tiles<1>(args.x_pixel);
  const int64_t parts = (args.columns + kPixels - 1) / kPixels;
  for (int64_t block = 0; block < args.blocks; block += kBlocks) {
    const float* weights = args.weights + block * kLanes * args.inputs;
    const Tile* some = block + kBlocks <= args.blocks ? whole : one;
    for (int64_t i = from; i < to; ++i) {
      for (int64_t part = 0; part < parts; ++part) {  // of nearly equal widths
        const int64_t j = part * args.columns / parts, end = (part + 1) * args.columns / parts;
        some[end - j - 1](args, args.x + i * args.x_row + j * args.x_pixel, weights,
                          args.bias + block * kLanes, block * args.y_block + i * args.y_row + j * kLanes);
      }
    }
  }
}

}  // namespace

void fill_pointwise(Kernels& kernels) {
  kernels.lanes = kLanes;
  kernels.tile_blocks = kBlocks;
  kernels.pointwise = pointwise;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
