// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

// 1 / x, of normal numbers, to three units in the last place.
HWY_INLINE Vector inverse(Vector x) {
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86  // a division takes as long as all the rest of a sigmoid
  const Vector near = hn::ApproximateReciprocal(x);
  return hn::Mul(near, hn::NegMulAdd(x, near, constant(2)));
#else
  return hn::Div(constant(1), x);
#endif
}
// 1 / (1 + 2^t), t = -x / ln 2: 2^t is 2^n, n the integer next to t, times a polynomial of the rest (Cephes,
// exp2f.c: within 2e-8 from -0.5 to 0.5).
HWY_INLINE Vector sigmoid(Vector x) {
  const D d;
  const hn::RebindToSigned<D> integers;
  const Vector minus_log2_e = constant(-1.44269504f), bounded = clamp(x, -80, 80);
  const auto n = hn::NearestInt(hn::Mul(bounded, minus_log2_e));
  const Vector rest = hn::MulSub(bounded, minus_log2_e, hn::ConvertTo(d, n));
  Vector power = constant(1.535336188319500e-4f);
  for (float c : {1.339887440266574e-3f, 9.618437357674640e-3f, 5.550332471162809e-2f, 2.402264791363012e-1f,
                  6.931472028550421e-1f, 1.0f}) {
    power = hn::MulAdd(power, rest, constant(c));
  }
  const Vector scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(integers, 127))));
  return inverse(hn::MulAdd(power, scale, constant(1)));
}
// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: within 1.5e-7.
HWY_INLINE Vector erf(Vector x) {
  const D d;
  const Vector size = hn::Min(hn::Abs(x), constant(6));
  const Vector t = inverse(hn::MulAdd(constant(0.3275911f), size, constant(1)));
  Vector sum = constant(1.061405429f);
  for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
    sum = hn::MulAdd(sum, t, constant(c));
  }
  const Vector rest = hn::Mul(hn::Mul(sum, t), hn::Exp(d, hn::Neg(hn::Mul(size, size))));
  return hn::CopySign(hn::Sub(constant(1), rest), x);
}
HWY_INLINE Vector hard_sigmoid(Vector x) {
  return clamp(hn::MulAdd(x, constant(1.0f / 6), constant(0.5f)), 0, 1);
}

// Calls f(x, y) for the vectors of a part's pixels.
template <class Args, class F>
HWY_INLINE void each(const Args& a, const Part& part, F f) {
  const D d;
  for (int64_t b = part.block_begin; b < part.block_end; ++b) {
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      const float* x = a.x + b * a.x_block + i * a.x_row;
      float* y = a.y + b * a.y_block + i * a.y_row;
      for (int64_t j = 0; j < a.columns * kLanes; j += kLanes) hn::StoreU(f(hn::LoadU(d, x + j)), d, y + j);
    }
  }
}

void unary(const Unary& a, const Part& part) {
  switch (a.function) {
    case ElementFunction::kClamp:
      return each(a, part, [&](Vector x) HWY_ATTR { return clamp(x, a.low, a.high); });
    case ElementFunction::kSigmoid:
      return each(a, part, [](Vector x) HWY_ATTR { return sigmoid(x); });
    case ElementFunction::kErf:
      return each(a, part, [](Vector x) HWY_ATTR { return erf(x); });
    case ElementFunction::kGelu:
      return each(a, part, [](Vector x) HWY_ATTR {
        const Vector half = hn::Mul(x, constant(0.5f));
        return hn::MulAdd(half, erf(hn::Mul(x, constant(0.70710678f))), half);
      });
    case ElementFunction::kHardSigmoid:
      return each(a, part, [](Vector x) HWY_ATTR { return hard_sigmoid(x); });
    case ElementFunction::kHardSwish:
      return each(a, part, [](Vector x) HWY_ATTR { return hn::Mul(x, hard_sigmoid(x)); });
    case ElementFunction::kSwish:
      return each(a, part, [](Vector x) HWY_ATTR { return hn::Mul(x, sigmoid(x)); });
  }
}

void binary(const Binary& a, const Part& part) {
  const D d;
  for (int64_t block = part.block_begin; block < part.block_end; ++block) {
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      const float *from_a = a.a + block * a.a_block + i * a.a_row,
                  *from_b = a.b + block * a.b_block + i * a.b_row;
      float* y = a.y + block * a.y_block + i * a.y_row;
      for (int64_t j = 0; j < a.columns * kLanes; j += kLanes) {
        const Vector p = hn::LoadU(d, from_a + j), q = hn::LoadU(d, from_b + j);
        hn::StoreU(clamp(a.multiply ? hn::Mul(p, q) : hn::Add(p, q), a.low, a.high), d, y + j);
      }
    }
  }
}

void affine(const Affine& a, const Part& part) {
  const D d;
  for (int64_t b = part.block_begin; b < part.block_end; ++b) {
    const Vector scale = a.scale ? hn::LoadU(d, a.scale + b * a.scale_block) : constant(1),
                 shift = a.shift ? hn::LoadU(d, a.shift + b * a.shift_block) : constant(0);
    each(a, {b, b + 1, part.row_begin, part.row_end},
         [&](Vector x) HWY_ATTR { return clamp(hn::MulAdd(x, scale, shift), a.low, a.high); });
  }
}

}  // namespace

void fill_elementwise(Kernels& kernels) {
  kernels.unary = unary;
  kernels.binary = binary;
  kernels.affine = affine;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
