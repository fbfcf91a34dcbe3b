// What every family of kernels says of its vectors; for each target anew, as Highway's own headers.
// SPDX-License-Identifier: Apache-2.0
#if defined(FEWSHIFT_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FEWSHIFT_VECTORS_INL_H
#undef FEWSHIFT_VECTORS_INL_H
#else
#define FEWSHIFT_VECTORS_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using Vector = hn::Vec<D>;

constexpr int kLanes = hn::MaxLanes(D());
constexpr bool kManyRegisters = HWY_MAX_BYTES == 64 || HWY_ARCH_ARM_A64;  // 32 vectors, else 16

HWY_INLINE Vector constant(float value) {
  return hn::Set(D(), value);
}
// NaN stays NaN: of two operands x86's vectors give the second if one is none; others give the number.
HWY_INLINE Vector clamp(Vector x, Vector low, Vector high) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Min(high, hn::Max(low, x));
#else
  return hn::IfThenElse(hn::Lt(x, low), low, hn::IfThenElse(hn::Gt(x, high), high, x));
#endif
}
HWY_INLINE Vector relu(Vector x) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Max(hn::Zero(D()), x);
#else
  return hn::IfThenElse(hn::Lt(x, hn::Zero(D())), hn::Zero(D()), x);
#endif
}
HWY_INLINE Vector clamp(Vector x, float low, float high) {
  return clamp(x, constant(low), constant(high));
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();

#endif
