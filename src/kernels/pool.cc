// SPDX-License-Identifier: Apache-2.0
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <limits>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fewshift {
namespace HWY_NAMESPACE {
namespace {

// A window that may reach over the border.
HWY_INLINE void window(const Pool& a, const float* x, int64_t top, int64_t left, float* y) {
  const D d;
  const int64_t k0 = std::max<int64_t>(top, 0), k1 = std::min(top + a.kernel_y, a.x_rows),
                l0 = std::max<int64_t>(left, 0), l1 = std::min(left + a.kernel_x, a.x_columns);
  Vector result = hn::Set(d, a.max ? -std::numeric_limits<float>::infinity() : 0.0f);
  for (int64_t k = k0; k < k1; ++k) {
    for (int64_t l = l0; l < l1; ++l) {
      const Vector value = hn::LoadU(d, x + k * a.x_row + l * kLanes);
      // NaN stays: whatever is not less than the greatest so far.
      result = a.max ? hn::IfThenElse(hn::Or(hn::Lt(value, result), hn::IsNaN(result)), result, value)
                     : hn::Add(result, value);
    }
  }
  if (!a.max) result = hn::Mul(result, hn::Set(d, 1.0f / static_cast<float>((k1 - k0) * (l1 - l0))));
  hn::StoreU(result, d, y);
}

// 2x2 pixels to their mean, all inside.
HWY_INLINE void halve(const Pool& a, const float* x, float* y) {
  const D d;
  const Vector quarter = hn::Set(d, 0.25f);
  for (int64_t j = 0; j < a.columns; ++j, x += 2 * kLanes) {
    const Vector upper = hn::Add(hn::LoadU(d, x), hn::LoadU(d, x + kLanes)),
                 lower = hn::Add(hn::LoadU(d, x + a.x_row), hn::LoadU(d, x + a.x_row + kLanes));
    hn::StoreU(hn::Mul(hn::Add(upper, lower), quarter), d, y + j * kLanes);
  }
}

void pool(const Pool& a, const Part& part) {
  const bool halves = !a.max && a.kernel_y == 2 && a.kernel_x == 2 && a.stride_y == 2 && a.stride_x == 2 &&
                      a.pad_y == 0 && a.pad_x == 0 && 2 * part.row_end <= a.x_rows &&
                      2 * a.columns <= a.x_columns;
  for (int64_t b = part.block_begin; b < part.block_end; ++b) {
    const float* x = a.x + b * a.x_block;
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      float* y = a.y + b * a.y_block + i * a.y_row;
      if (halves) {
        halve(a, x + 2 * i * a.x_row, y);
        continue;
      }
      for (int64_t j = 0; j < a.columns; ++j)
        window(a, x, i * a.stride_y - a.pad_y, j * a.stride_x - a.pad_x, y + j * kLanes);
    }
  }
}

void global_average(const GlobalAverage& a, const Part& part) {
  const D d;
  for (int64_t b = part.block_begin; b < part.block_end; ++b) {
    Vector total = hn::Zero(d);
    for (int64_t i = 0; i < a.x_rows; ++i) {
      const float* x = a.x + b * a.x_block + i * a.x_row;
      Vector sum = hn::Zero(d);  // a row at a time: rounding grows less
      for (int64_t j = 0; j < a.x_columns; ++j) sum = hn::Add(sum, hn::LoadU(d, x + j * kLanes));
      total = hn::Add(total, sum);
    }
    const Vector share = hn::Set(d, 1.0f / static_cast<float>(a.x_rows * a.x_columns));
    hn::StoreU(hn::Mul(total, share), d, a.y + b * a.y_block);
  }
}

}  // namespace

void fill_pool(Kernels& kernels) {
  kernels.pool = pool;
  kernels.global_average = global_average;
}

}  // namespace HWY_NAMESPACE
}  // namespace fewshift
HWY_AFTER_NAMESPACE();
