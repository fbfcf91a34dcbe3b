// The kernels written for clarity, in double precision: what every target is held against.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace fewshift {
namespace {

float clamp(double value, float low, float high) {
  return std::min(std::max(static_cast<float>(value), low), high);
}

// Calls f(channel, row, column, place in y).
template <int kLanes, class Args, class F>
void each(const Args& a, const Part& part, F f) {
  for (int64_t c = part.block_begin * kLanes; c < part.block_end * kLanes; ++c) {
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      for (int64_t j = 0; j < a.columns; ++j)
        f(c, i, j, c / kLanes * a.y_block + i * a.y_row + j * kLanes + c % kLanes);
    }
  }
}

template <int kLanes>
void pointwise(const Pointwise& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t o, int64_t i, int64_t j, int64_t at) {
    double sum = a.bias[o] + (a.residual ? a.residual[at] : 0.0);
    for (int64_t k = 0; k < a.inputs; ++k) {
      sum += double(a.weights[(o / kLanes * a.inputs + k) * kLanes + o % kLanes]) *
             a.x[i * a.x_row + j * a.x_pixel + a.offsets[k]];
    }
    a.y[at] = clamp(sum, a.low, a.high);
  });
}

template <int kLanes>
void depthwise(const Depthwise& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t c, int64_t i, int64_t j, int64_t at) {
    double sum = a.bias[c];
    for (int64_t t = 0; t < a.tap_count; ++t) {
      sum += double(a.weights[(c / kLanes * a.tap_count + t) * kLanes + c % kLanes]) *
             a.x[c / kLanes * a.x_block + c % kLanes + i * a.x_row + j * a.x_pixel + a.taps[t]];
    }
    a.y[at] = clamp(sum, a.low, a.high);
  });
}

template <int kLanes>
void pool(const Pool& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t c, int64_t i, int64_t j, int64_t at) {
    double sum = 0, most = -std::numeric_limits<double>::infinity();
    int seen = 0;
    for (int64_t k = 0; k < a.kernel_y; ++k) {
      for (int64_t l = 0; l < a.kernel_x; ++l) {
        const int64_t p = i * a.stride_y - a.pad_y + k, q = j * a.stride_x - a.pad_x + l;
        if (p < 0 || q < 0 || p >= a.x_rows || q >= a.x_columns) continue;
        const double value = a.x[c / kLanes * a.x_block + p * a.x_row + q * kLanes + c % kLanes];
        sum += value, most = value < most || std::isnan(most) ? most : value, ++seen;
      }
    }
    a.y[at] = static_cast<float>(a.max ? most : sum / seen);
  });
}

template <int kLanes>
void global_average(const GlobalAverage& a, const Part& part) {
  for (int64_t c = part.block_begin * kLanes; c < part.block_end * kLanes; ++c) {
    double sum = 0;
    for (int64_t i = 0; i < a.x_rows; ++i) {
      for (int64_t j = 0; j < a.x_columns; ++j)
        sum += a.x[c / kLanes * a.x_block + i * a.x_row + j * kLanes + c % kLanes];
    }
    a.y[c / kLanes * a.y_block + c % kLanes] =
        static_cast<float>(sum / static_cast<double>(a.x_rows * a.x_columns));
  }
}

double apply(const Unary& a, double x) {
  switch (a.function) {
    case ElementFunction::kClamp:
      return clamp(x, a.low, a.high);
    case ElementFunction::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ElementFunction::kErf:
      return std::erf(x);
    case ElementFunction::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case ElementFunction::kHardSigmoid:
      return std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case ElementFunction::kHardSwish:
      return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case ElementFunction::kSwish:
      return x / (1 + std::exp(-x));
  }
  return x;
}

template <int kLanes>
void unary(const Unary& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t c, int64_t i, int64_t j, int64_t at) {
    a.y[at] =
        static_cast<float>(apply(a, a.x[c / kLanes * a.x_block + i * a.x_row + j * kLanes + c % kLanes]));
  });
}

template <int kLanes>
void binary(const Binary& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t c, int64_t i, int64_t j, int64_t at) {
    const int64_t pixel = j * kLanes + c % kLanes, block = c / kLanes;
    const double p = a.a[block * a.a_block + i * a.a_row + pixel],
                 q = a.b[block * a.b_block + i * a.b_row + pixel];
    a.y[at] = clamp(a.multiply ? p * q : p + q, a.low, a.high);
  });
}

template <int kLanes>
void affine(const Affine& a, const Part& part) {
  each<kLanes>(a, part, [&](int64_t c, int64_t i, int64_t j, int64_t at) {
    const int64_t block = c / kLanes, lane = c % kLanes;
    const double scale = a.scale ? a.scale[block * a.scale_block + lane] : 1,
                 shift = a.shift ? a.shift[block * a.shift_block + lane] : 0;
    a.y[at] = clamp(scale * a.x[block * a.x_block + i * a.x_row + j * kLanes + lane] + shift, a.low, a.high);
  });
}

template <int kLanes>
Kernels table() {
  return {"reference",       kLanes,         pointwise<kLanes>,
          depthwise<kLanes>, pool<kLanes>,   global_average<kLanes>,
          unary<kLanes>,     binary<kLanes>, affine<kLanes>};
}

}  // namespace

Kernels reference_kernels(int lanes) {
  switch (lanes) {
    case 16:
      return table<16>();
    case 8:
      return table<8>();
    case 4:
      return table<4>();
    case 2:
      return table<2>();
    default:
      return table<1>();
  }
}

}  // namespace fewshift
