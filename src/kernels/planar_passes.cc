// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/planar_passes.cc"
#include <hwy/foreach_target.h>

#include <hwy/cache_control.h>

#include "kernels/kernels.h"
#include "kernels/planar-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

template <int kTaps, bool kGated, bool kHalves>
void taps_of(PlanarTaps& results) {
  const D d;
  const PlanarTaps a = results;
  Vector sums[kTaps + 1];
#pragma GCC unroll 16
  for (int t = 0; t <= kTaps; ++t) sums[t] = hn::Zero(d);
  const float* corners[kTaps + 1];
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) corners[t] = held(a.z + a.offsets[t]);
  const float* const gate = held(a.z + a.gate);
  float* const gradient = held(a.g);
#pragma GCC unroll 2
  for (int64_t v = 0; v < a.vectors; ++v) {
    const int64_t at = a.places[v];
    Vector g = load<kHalves>(gradient + at, a.half);
#pragma GCC unroll 16
    for (int t = 0; t < kTaps; ++t) sums[t] = hn::MulAdd(g, load<kHalves>(corners[t] + at, a.half), sums[t]);
    if constexpr (kGated) {
      g = hn::IfThenElseZero(hn::Gt(load<kHalves>(gate + at, a.half), hn::Zero(d)), g);
      store<kHalves>(g, gradient + at, a.half);
      sums[kTaps] = hn::Add(sums[kTaps], g);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) results.dots[t] = hn::GetLane(hn::SumOfLanes(d, sums[t]));
  results.sum = hn::GetLane(hn::SumOfLanes(d, sums[kTaps]));
}

// The four corners of a pixel, the gate among them, row after row of whole vectors: what lies below one row
// is above the next, which spares half of the loads.
template <int kGate>
void corners_of(PlanarTaps& results) {
  const D d;
  const PlanarTaps a = results;
  Vector sums[5];
#pragma GCC unroll 16
  for (int t = 0; t < 5; ++t) sums[t] = hn::Zero(d);
  const float* const left = held(a.z + a.offsets[0]);
  const float* const below = held(a.z + a.offsets[2]);
  float* const gradient = held(a.g);
  for (int64_t map = 0; map < a.vectors; map += a.rows * a.row_vectors) {
    for (int64_t column = 0; column < a.row_vectors; ++column) {
      const int32_t* place = a.places + map + column;
      Vector z[4];
      z[2] = hn::LoadU(d, left + *place), z[3] = hn::LoadU(d, left + 1 + *place);
      for (int64_t row = 0; row < a.rows; ++row, place += a.row_vectors) {
        const int64_t at = *place;
        Vector g = hn::LoadU(d, gradient + at);
        z[0] = z[2], z[1] = z[3];
        z[2] = hn::LoadU(d, below + at), z[3] = hn::LoadU(d, below + 1 + at);
#pragma GCC unroll 16
        for (int t = 0; t < 4; ++t) sums[t] = hn::MulAdd(g, z[t], sums[t]);
        g = hn::IfThenElseZero(hn::Gt(z[kGate], hn::Zero(d)), g);
        hn::StoreU(g, d, gradient + at);
        sums[4] = hn::Add(sums[4], g);
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < 4; ++t) results.dots[t] = hn::GetLane(hn::SumOfLanes(d, sums[t]));
  results.sum = hn::GetLane(hn::SumOfLanes(d, sums[4]));
}

// Whether they are, and did it.
bool corners(PlanarTaps& a) {
  const int32_t* const o = a.offsets;
  if (a.taps != 4 || !a.gated || a.row_vectors == 0 || o[1] != o[0] + 1 || o[2] != o[0] + a.pitch ||
      o[3] != o[2] + 1)
    return false;
  if (a.gate == o[0]) return corners_of<0>(a), true;
  if (a.gate == o[1]) return corners_of<1>(a), true;
  if (a.gate == o[2]) return corners_of<2>(a), true;
  if (a.gate == o[3]) return corners_of<3>(a), true;
  return false;
}

template <int kTaps, bool kGated>
void taps_of(PlanarTaps& a) {
  return a.half != 0 ? taps_of<kTaps, kGated, true>(a) : taps_of<kTaps, kGated, false>(a);
}
template <int kTaps>
void taps_of(PlanarTaps& a) {
  return a.gated ? taps_of<kTaps, true>(a) : taps_of<kTaps, false>(a);
}

void taps(PlanarTaps& a) {
  if (corners(a)) return;
  switch (a.taps) {
    case 0:
      return taps_of<0>(a);
    case 4:
      return taps_of<4>(a);
    case 6:
      return taps_of<6>(a);
    default:
      return taps_of<9>(a);
  }
}

template <int kTaps, bool kHalvesX, bool kHalvesY>
void sample_of(const PlanarSample& args) {
  const D d;
  const PlanarSample a = args;
  Vector weights[kTaps];
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) weights[t] = hn::Set(d, a.weights[t]);
  for (int64_t v = 0; v < a.vectors; ++v) {
    const float* const x = a.x + a.x_vectors[v];
    Vector sum = hn::Zero(d);
#pragma GCC unroll 16
    for (int t = 0; t < kTaps; ++t)
      sum = hn::MulAdd(weights[t], load<kHalvesX>(x + a.offsets[t], a.x_half), sum);
    store<kHalvesY>(sum, a.y + a.y_vectors[v], a.y_half);
  }
}
template <int kTaps>
void sample_of(const PlanarSample& a) {
  if (a.x_half == 0) return sample_of<kTaps, false, false>(a);
  return a.y_half == 0 ? sample_of<kTaps, true, false>(a) : sample_of<kTaps, true, true>(a);
}

void sample(const PlanarSample& a) {
  // Taps that are not there weigh nothing.
  return a.taps == 1 ? sample_of<1>(a) : a.taps <= 4 ? sample_of<4>(a) : sample_of<9>(a);
}

// Of float32's bits the upper half is a bfloat16.
HWY_INLINE auto to_bf16(Vector x) {
  const hn::RebindToUnsigned<D> d;
  const hn::Rebind<uint16_t, D> half;
  const auto bits = hn::BitCast(d, x), last = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(last, hn::Set(d, 0x7FFF))));
  return hn::DemoteTo(half, hn::BitCast(hn::RebindToSigned<D>(), rounded));
}
HWY_INLINE Vector from_bf16(const uint16_t* bits) {
  const hn::RebindToUnsigned<D> d;
  const auto wide = hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint16_t, D>(), bits));
  return hn::BitCast(D(), hn::ShiftLeft<16>(wide));
}

void round(float* values, int64_t count) {
  for (int64_t k = 0; k < count; k += kLanes)
    hn::StoreU(rounded(hn::LoadU(D(), values + k)), D(), values + k);
}

void pair(const float* from, int64_t vectors, float* to) {
  const hn::RebindToUnsigned<D> d;
  for (int64_t v = 0; v < vectors; v += 2, from += 2 * kLanes, to += kLanes) {
    const auto low = hn::ShiftRight<16>(hn::BitCast(d, hn::LoadU(D(), from)));
    const auto both = v + 1 < vectors ? hn::Or(low, hn::BitCast(d, hn::LoadU(D(), from + kLanes))) : low;
    hn::StoreU(hn::BitCast(D(), both), D(), to);
  }
}

// Past the caches, which would first read what is written over.
template <class V, class Tag, class T>
HWY_INLINE void stream(V value, Tag tag, T* to) {
  if constexpr (hn::MaxLanes(Tag()) * sizeof(T) >= 16) {
    hn::Stream(value, tag, to);
  } else {
    hn::StoreU(value, tag, to);
  }
}

template <bool kBf16, bool kBack, bool kHalves>
void copy_of(const PlanarCopy& args) {
  const D d;
  const PlanarCopy a = args;
  for (int64_t c = 0; c < a.channels; ++c) {
    float* const plane = a.planes + c * a.plane;
    const int64_t first = c * a.vectors * kLanes;
    auto* const bits = static_cast<uint16_t*>(a.kept) + first;
    auto* const floats = static_cast<float*>(a.kept) + first;
#pragma GCC unroll 4
    for (int64_t v = 0; v < a.vectors; ++v) {
      float* const at = plane + a.places[v];
      if constexpr (kBack) {
        store<kHalves>(kBf16 ? from_bf16(bits + v * kLanes) : hn::LoadU(d, floats + v * kLanes), at, a.half);
      } else if constexpr (kBf16) {
        stream(to_bf16(load<kHalves>(at, a.half)), hn::Rebind<uint16_t, D>(), bits + v * kLanes);
      } else {
        stream(load<kHalves>(at, a.half), d, floats + v * kLanes);
      }
    }
  }
  if constexpr (!kBack) hwy::FlushStream();
}

template <bool kBf16, bool kBack>
void copy_of(const PlanarCopy& a) {
  return a.half != 0 ? copy_of<kBf16, kBack, true>(a) : copy_of<kBf16, kBack, false>(a);
}

void keep(const PlanarCopy& a) {
  return a.bf16 ? copy_of<true, false>(a) : copy_of<false, false>(a);
}

void restore(const PlanarCopy& a) {
  return a.bf16 ? copy_of<true, true>(a) : copy_of<false, true>(a);
}
}  // namespace

void fill_planar_passes(Kernels& kernels) {
  kernels.planar_taps = taps;
  kernels.planar_sample = sample;
  kernels.planar_round = round;
  kernels.planar_pair = pair;
  kernels.planar_keep = keep;
  kernels.planar_restore = restore;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
