// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/planar.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "core/cpu.h"
#include "kernels/kernels.h"
#include "kernels/planar-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

// A tile of kHeight channels x kWidth vectors of pixels keeps its sums in registers: 24 of 32, or 12 of 16.
constexpr int kHeight = kManyRegisters ? 8 : 4, kWidth = 3;
constexpr int64_t kTogetherFloats = 3072;  // of a product's inputs, which stay in the nearest cache

using Ending = PlanarProduct::Ending;

// Where the sums of a tile of a product start.
template <int kVectors, Ending kEnding, bool kHalves>
HWY_INLINE void begin_tile(const PlanarProduct& a, int64_t o, int64_t v, Vector (&sums)[kHeight][kVectors]) {
  const D d;
  if (kEnding == Ending::kStore && a.adds) {
    const float* row = held(a.y + o * a.y_plane);
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i, row = held(row + a.y_plane)) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = load<kHalves>(row + a.y_vectors[v + j], a.y_half);
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j)
        sums[i][j] = kEnding == Ending::kRelu ? hn::Set(d, a.bias[o + i]) : hn::Zero(d);
    }
  }
}

// And where they go.
template <int kVectors, Ending kEnding, bool kHalves>
HWY_INLINE void end_tile(const PlanarProduct& a, int64_t o, int64_t v, Vector (&sums)[kHeight][kVectors]) {
  const D d;
  const Vector zero = hn::Zero(d);
  float* row = held(a.y + o * a.y_plane);
  const bool masked = kEnding == Ending::kRelu && a.masks, rounds = a.rounds;
  int64_t at[kVectors], gate_at[kVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) {
    at[j] = a.y_vectors[v + j];
    if constexpr (kEnding == Ending::kMask) gate_at[j] = a.gate_vectors[v + j];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i, row = held(row + a.y_plane)) {
    Vector total = zero;
    const float* gate = nullptr;
    if constexpr (kEnding == Ending::kMask) gate = held(a.gate + a.gate_offsets[o + i]);
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      Vector sum = sums[i][j];
      if constexpr (kEnding == Ending::kRelu) {
        sum = relu(sum);
        if (masked) sum = hn::Mul(sum, hn::LoadU(d, a.masks + (v + j) * kLanes));
      }
      if (rounds) sum = rounded(sum);
      if constexpr (kEnding == Ending::kMask) {
        sum = hn::IfThenElseZero(hn::Gt(load<kHalves>(gate + gate_at[j], a.y_half), zero), sum);
        total = hn::Add(total, sum);
      }
      store<kHalves>(sum, row + at[j], a.y_half);
    }
    if constexpr (kEnding == Ending::kMask) {
      float* const all = a.sums + (o + i) * kLanes;
      hn::StoreU(hn::Add(hn::LoadU(d, all), total), d, all);
    }
  }
}

// to[0..3] += the sum of each vector's lanes.
HWY_INLINE void add_sums(Vector a, Vector b, Vector c, Vector e, float* to) {
#if HWY_TARGET == HWY_SCALAR
  to[0] += hn::GetLane(a), to[1] += hn::GetLane(b), to[2] += hn::GetLane(c), to[3] += hn::GetLane(e);
#else
  const D d;
  // Within each four lanes: ab = a0+a2 b0+b2 a1+a3 b1+b3; then all = a b c e.
  const hn::Repartition<double, D> pairs;
  const auto ab = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  const Vector all = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)),
                             hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce)));
  const hn::Full128<float> four;
#if HWY_MAX_BYTES == 64
  const hn::Half<D> half;
  const auto sum = hn::Add(hn::LowerHalf(half, all), hn::UpperHalf(half, all));
  const auto last = hn::Add(hn::LowerHalf(four, sum), hn::UpperHalf(four, sum));
#elif HWY_MAX_BYTES == 32
  const auto last = hn::Add(hn::LowerHalf(four, all), hn::UpperHalf(four, all));
#else
  const auto last = all;
#endif
  hn::StoreU(hn::Add(last, hn::LoadU(four, to)), four, to);
#endif
}

// And those of a tile of dots.
template <int kColumns>
HWY_INLINE void end_dots(const PlanarDots& a, int64_t i0, int64_t j0, Vector (&sums)[kHeight][kColumns]) {
#pragma GCC unroll 16
  for (int j = 0; j < kColumns; ++j) {
    float* const out = a.out + (j0 + j) * a.out_column + i0;
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; i += 4)
      add_sums(sums[i][j], sums[i + 1][j], sums[i + 2][j], sums[i + 3][j], out + i);
  }
}

struct Singles {
  template <int kVectors, Ending kEnding, bool kHalvesX, bool kHalvesY>
  static HWY_INLINE void product_tile(const PlanarProduct& a, int64_t o, int64_t v) {
    const D d;
    Vector sums[kHeight][kVectors];
    const float* x[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) x[j] = held(a.x + a.x_vectors[v + j]);
    begin_tile<kVectors, kEnding, kHalvesY>(a, o, v, sums);
    const float* weights = a.weights + o * a.inputs;
    const int64_t half = a.x_half;
#pragma GCC unroll 4
    for (int64_t k = 0; k < a.inputs; ++k, weights += kHeight) {
      const int64_t offset = a.x_offsets[k];
      Vector in[kVectors];
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) in[j] = load<kHalvesX>(x[j] + offset, half);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        const Vector w = hn::Set(d, weights[i]);
#pragma GCC unroll 16
        for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::MulAdd(w, in[j], sums[i][j]);
      }
    }
    end_tile<kVectors, kEnding, kHalvesY>(a, o, v, sums);
  }

  template <int kColumns, bool kHalves>
  static HWY_INLINE void dots_tile(const PlanarDots& a, int64_t i0, int64_t j0) {
    const D d;
    Vector sums[kHeight][kColumns];
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) sums[i][j] = hn::Zero(d);
    }
    const float *left[kHeight], *right[kColumns];
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) left[i] = held(a.a + (i0 + i) * a.a_plane);
#pragma GCC unroll 16
    for (int j = 0; j < kColumns; ++j) right[j] = held(a.b + a.b_offsets[j0 + j]);
    const int64_t half = a.b_half;
#pragma GCC unroll 4
    for (int64_t v = 0; v < a.vectors; ++v) {
      const int64_t at = a.b_vectors[v];
      Vector in[kColumns];
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) in[j] = load<kHalves>(right[j] + at, half);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        const Vector value = hn::LoadU(d, left[i] + v * kLanes);
#pragma GCC unroll 16
        for (int j = 0; j < kColumns; ++j) sums[i][j] = hn::MulAdd(value, in[j], sums[i][j]);
      }
    }
    end_dots<kColumns>(a, i0, j0, sums);
  }
};

// Two bfloat16s in each 32 bits: the first in the lower half.
using Words = hn::Vec<hn::RebindToUnsigned<D>>;
template <bool kHalves = false>
HWY_INLINE Words words(const float* x, int64_t half = 0) {
  return hn::BitCast(hn::RebindToUnsigned<D>(), load<kHalves>(x, half));
}

namespace emulated {
HWY_INLINE Vector low(Words x) {
  return hn::BitCast(D(), hn::ShiftLeft<16>(x));
}
HWY_INLINE Vector high(Words x) {
  return hn::BitCast(D(), hn::And(x, hn::Set(hn::RebindToUnsigned<D>(), 0xFFFF0000)));
}
HWY_INLINE Vector add_pairs(Words a, Words b, Vector sum) {
  return hn::MulAdd(high(a), high(b), hn::MulAdd(low(a), low(b), sum));
}
#include "kernels/planar_pairs-inl.h"
}  // namespace emulated

#if HWY_TARGET == HWY_AVX3
HWY_POP_ATTRIBUTES
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512bf16")
namespace native {
HWY_INLINE Vector add_pairs(Words a, Words b, Vector sum) {
  return Vector{_mm512_dpbf16_ps(sum.raw, (__m512bh)a.raw, (__m512bh)b.raw)};
}
#include "kernels/planar_pairs-inl.h"
}  // namespace native
HWY_POP_ATTRIBUTES
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR)
#endif

// Arguments are copied, here and below: a vector that is stored could be a part of them, for all the compiler
// knows, which then reads them again and again.
template <class Arithmetic, Ending kEnding, bool kHalvesX, bool kHalvesY>
void product_of(const PlanarProduct& args) {
  const PlanarProduct a = args;
  const int64_t together = std::max<int64_t>(kTogetherFloats / (a.inputs * kLanes * kWidth), 1) * kWidth;
  for (int64_t begin = 0; begin < a.vectors; begin += together) {
    const int64_t end = std::min(begin + together, a.vectors);
    for (int64_t o = 0; o < a.outputs; o += kHeight) {
      int64_t v = begin;
      for (; v + kWidth <= end; v += kWidth)
        Arithmetic::template product_tile<kWidth, kEnding, kHalvesX, kHalvesY>(a, o, v);
      for (; v < end; ++v) Arithmetic::template product_tile<1, kEnding, kHalvesX, kHalvesY>(a, o, v);
    }
  }
}

template <class Arithmetic, bool kHalvesX, bool kHalvesY>
void product_of(const PlanarProduct& a) {
  switch (a.ending) {
    case Ending::kStore:
      return product_of<Arithmetic, Ending::kStore, kHalvesX, kHalvesY>(a);
    case Ending::kRelu:
      return product_of<Arithmetic, Ending::kRelu, kHalvesX, kHalvesY>(a);
    case Ending::kMask:
      return product_of<Arithmetic, Ending::kMask, kHalvesX, kHalvesY>(a);
  }
}
template <class Arithmetic>
void product_of(const PlanarProduct& a) {
  if (a.x_half != 0) return product_of<Arithmetic, Ending::kStore, true, false>(a);
  return a.y_half != 0 ? product_of<Arithmetic, false, true>(a) : product_of<Arithmetic, false, false>(a);
}

template <class Arithmetic, bool kHalves>
void dots_of(const PlanarDots& args) {
  const PlanarDots a = args;
  int64_t j = 0;
  for (; j + kWidth <= a.columns; j += kWidth) {
    for (int64_t i = 0; i < a.rows; i += kHeight) Arithmetic::template dots_tile<kWidth, kHalves>(a, i, j);
  }
  for (; j < a.columns; ++j) {
    for (int64_t i = 0; i < a.rows; i += kHeight) Arithmetic::template dots_tile<1, kHalves>(a, i, j);
  }
}
template <class Arithmetic>
void dots_of(const PlanarDots& a) {
  return a.b_half != 0 ? dots_of<Arithmetic, true>(a) : dots_of<Arithmetic, false>(a);
}

template <class Pairs>
void product(const PlanarProduct& a) {
  return a.operands == PlanarOperands::kPairs ? product_of<Pairs>(a) : product_of<Singles>(a);
}
template <class Pairs>
void dots(const PlanarDots& a) {
  return a.operands == PlanarOperands::kPairs ? dots_of<Pairs>(a) : dots_of<Singles>(a);
}

}  // namespace

void fill_planar(Kernels& kernels) {
  kernels.planar_height = kHeight;
  kernels.planar_product = product<emulated::Pairs>;
  kernels.planar_dots = dots<emulated::Pairs>;
#if HWY_TARGET == HWY_AVX3
  if (has_avx512_bf16()) {
    kernels.planar_pairs = true;
    kernels.planar_product = product<native::Pairs>;
    kernels.planar_dots = dots<native::Pairs>;
  }
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
