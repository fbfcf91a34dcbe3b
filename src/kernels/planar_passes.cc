// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/planar_passes.cc"
#include <hwy/foreach_target.h>

#include "kernels/kernels.h"
#include "kernels/planar-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

template <int kTaps, bool kGated>
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
    Vector g = hn::LoadU(d, gradient + at);
#pragma GCC unroll 16
    for (int t = 0; t < kTaps; ++t) sums[t] = hn::MulAdd(g, hn::LoadU(d, corners[t] + at), sums[t]);
    if constexpr (kGated) {
      g = hn::IfThenElseZero(hn::Gt(hn::LoadU(d, gate + at), hn::Zero(d)), g);
      hn::StoreU(g, d, gradient + at);
      sums[kTaps] = hn::Add(sums[kTaps], g);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) results.dots[t] = hn::GetLane(hn::SumOfLanes(d, sums[t]));
  results.sum = hn::GetLane(hn::SumOfLanes(d, sums[kTaps]));
}

template <int kTaps>
void taps_of(PlanarTaps& a) {
  return a.gated ? taps_of<kTaps, true>(a) : taps_of<kTaps, false>(a);
}

void taps(PlanarTaps& a) {
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

template <int kTaps>
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
    for (int t = 0; t < kTaps; ++t) sum = hn::MulAdd(weights[t], hn::LoadU(d, x + a.offsets[t]), sum);
    hn::StoreU(sum, d, a.y + a.y_vectors[v]);
  }
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

template <bool kBf16, bool kBack>
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
        hn::StoreU(kBf16 ? from_bf16(bits + v * kLanes) : hn::LoadU(d, floats + v * kLanes), d, at);
      } else if constexpr (kBf16) {
        hn::StoreU(to_bf16(hn::LoadU(d, at)), hn::Rebind<uint16_t, D>(), bits + v * kLanes);
      } else {
        hn::StoreU(hn::LoadU(d, at), d, floats + v * kLanes);
      }
    }
  }
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
  kernels.planar_keep = keep;
  kernels.planar_restore = restore;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
