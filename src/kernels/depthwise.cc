// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

constexpr int kWidth = kManyRegisters ? 14 : 7;  // pixels of a tile

template <int kPixels>
HWY_INLINE void store(const Depthwise& args, const Vector (&sums)[kPixels], float* y) {
  const D d;
  const Vector low = constant(args.low), high = constant(args.high);
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) hn::StoreU(clamp(sums[p], low, high), d, y + p * kLanes);
}

// kKernel x kKernel neighbours: each input is read once for all the outputs of a row that see it.
template <int kKernel, int kStride, int kPixels>
HWY_NOINLINE void square(const Depthwise& args, const float* x, const float* weights, const float* bias,
                         float* y) {
  const D d;
  Vector sums[kPixels];
  const Vector start = hn::LoadU(d, bias);
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) sums[p] = start;
  x += args.taps[0];
  for (int k = 0; k < kKernel; ++k, x += args.tap_row, weights += kKernel * kLanes) {
    Vector w[kKernel];
#pragma GCC unroll 16
    for (int l = 0; l < kKernel; ++l) w[l] = hn::LoadU(d, weights + l * kLanes);
#pragma GCC unroll 64
    for (int q = 0; q < (kPixels - 1) * kStride + kKernel; ++q) {
      const Vector value = hn::LoadU(d, x + q * kLanes);
#pragma GCC unroll 16
      for (int l = 0; l < kKernel; ++l) {
        const int p = (q - l) / kStride;
        if (q >= l && (q - l) % kStride == 0 && p < kPixels) sums[p] = hn::MulAdd(value, w[l], sums[p]);
      }
    }
  }
  store(args, sums, y);
}

template <int kPixels>
HWY_NOINLINE void general(const Depthwise& args, const float* x, const float* weights, const float* bias,
                          float* y) {
  const D d;
  Vector sums[kPixels];
  const Vector start = hn::LoadU(d, bias);
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) sums[p] = start;
  for (int64_t t = 0; t < args.tap_count; ++t) {
    const Vector w = hn::LoadU(d, weights + t * kLanes);
    const float* from = x + args.taps[t];
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) sums[p] = hn::MulAdd(hn::LoadU(d, from + p * args.x_pixel), w, sums[p]);
  }
  store(args, sums, y);
}

using Tile = void (*)(const Depthwise&, const float*, const float*, const float*, float*);
using Tiles = std::array<Tile, kWidth>;  // [pixels - 1]

template <int kKernel, int kStride, int... kPixels>
constexpr Tiles squares(std::integer_sequence<int, kPixels...>) {
  return {square<kKernel, kStride, kPixels + 1>...};
}
template <int... kPixels>
constexpr Tiles generals(std::integer_sequence<int, kPixels...>) {
  return {general<kPixels + 1>...};
}

const Tiles& choose(const Depthwise& args) {
  constexpr auto kWidths = std::make_integer_sequence<int, kWidth>();
  static constexpr Tiles k31 = squares<3, 1>(kWidths), k32 = squares<3, 2>(kWidths),
                         k51 = squares<5, 1>(kWidths), k52 = squares<5, 2>(kWidths),
                         kGeneral = generals(kWidths);
  if (args.kernel == 3 && args.stride == 1) return k31;
  if (args.kernel == 3 && args.stride == 2) return k32;
  if (args.kernel == 5 && args.stride == 1) return k51;
  if (args.kernel == 5 && args.stride == 2) return k52;
  return kGeneral;
}

void depthwise(const Depthwise& args, const Part& part) {
  const Tiles& tiles = choose(args);
  const int64_t parts = (args.columns + kWidth - 1) / kWidth;
  for (int64_t b = part.block_begin; b < part.block_end; ++b) {
    const float *weights = args.weights + b * args.tap_count * kLanes, *bias = args.bias + b * kLanes;
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      for (int64_t p = 0; p < parts; ++p) {
        const int64_t j = p * args.columns / parts, width = (p + 1) * args.columns / parts - j;
        tiles[width - 1](args, args.x + b * args.x_block + i * args.x_row + j * args.x_pixel, weights, bias,
                         args.y + b * args.y_block + i * args.y_row + j * kLanes);
      }
    }
  }
}

}  // namespace

void fill_depthwise(Kernels& kernels) {
  kernels.depthwise = depthwise;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
