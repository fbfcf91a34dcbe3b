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

HWY_INLINE Vector rounded(Vector x) {
  const hn::RebindToUnsigned<D> d;
  return hn::BitCast(D(), hn::And(hn::Add(hn::BitCast(d, x), hn::Set(d, 0x8000)), hn::Set(d, 0xFFFF0000)));
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();

#endif
