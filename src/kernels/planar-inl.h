// What the planar kernels share; for each target anew. SPDX-License-Identifier: Apache-2.0
#if defined(FEWSHIFT_PLANAR_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FEWSHIFT_PLANAR_INL_H
#undef FEWSHIFT_PLANAR_INL_H
#else
#define FEWSHIFT_PLANAR_INL_H
#endif

#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {

// A pointer in a register of its own: compilers compute related ones from each other in the inner loop, which
// costs an instruction for each load.
template <class T>
HWY_INLINE T* held(T* pointer) {
  asm("" : "+r"(pointer));
  return pointer;
}

// A vector whose second half lies `half` floats behind its first, if kHalves; a lane alone has none.
#if HWY_TARGET == HWY_SCALAR
template <bool kHalves>
HWY_INLINE Vector load(const float* at, int64_t) {
  return hn::LoadU(D(), at);
}
template <bool kHalves>
HWY_INLINE void store(Vector value, float* at, int64_t) {
  hn::StoreU(value, D(), at);
}
#else
template <bool kHalves>
HWY_INLINE Vector load(const float* at, int64_t half) {
  if constexpr (!kHalves) return hn::LoadU(D(), at);
  const hn::Half<D> one;
  return hn::Combine(D(), hn::LoadU(one, at + half), hn::LoadU(one, at));
}
template <bool kHalves>
HWY_INLINE void store(Vector value, float* at, int64_t half) {
  if constexpr (!kHalves) return hn::StoreU(value, D(), at);
  const hn::Half<D> one;
  hn::StoreU(hn::LowerHalf(one, value), one, at);
  hn::StoreU(hn::UpperHalf(one, value), one, at + half);
}
#endif

HWY_INLINE Vector rounded(Vector x) {
  const hn::RebindToUnsigned<D> d;
  return hn::BitCast(D(), hn::And(hn::Add(hn::BitCast(d, x), hn::Set(d, 0x8000)), hn::Set(d, 0xFFFF0000)));
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();

#endif
