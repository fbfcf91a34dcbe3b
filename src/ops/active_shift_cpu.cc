// The active shift on the CPU, in both memory layouts. Its adjoint with stride 1 is the active shift by the
// opposite displacement. SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/torch.h>

#include "ops/shift_geometry.h"
#include "ops/shift_gradients.h"
#include "ops/shift_nhwc.h"

namespace fewshift {
namespace {

using at::MemoryFormat;
using at::Tensor;

// y[j][c] = sum over k, l of w[2k + l][c] * z_k[stride * j + l][c]; y: [width][C], w: [4][C], z0, z1: rows of
// gather_row.
template <class W>
inline __attribute__((always_inline)) void interpolate_row_any(const W* z0, const W* z1, int64_t width,
                                                               int64_t stride, int64_t C, const W* w, W* y) {
  for (int64_t j = 0; j < width; ++j, z0 += stride * C, z1 += stride * C, y += C) {
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) {
      y[c] = w[c] * z0[c] + w[C + c] * z0[C + c] + w[2 * C + c] * z1[c] + w[3 * C + c] * z1[C + c];
    }
  }
}

FEWSHIFT_CLONES void interpolate_row(const float* z0, const float* z1, int64_t width, int64_t stride,
                                     int64_t C, const float* w, float* y) {
  interpolate_row_any(z0, z1, width, stride, C, w, y);
}
void interpolate_row(const double* z0, const double* z1, int64_t width, int64_t stride, int64_t C,
                     const double* w, double* y) {
  interpolate_row_any(z0, z1, width, stride, C, w, y);
}

struct Plan {
  Map map;
  int64_t C;
  std::vector<Shift> corners;   // [C]: whole part, by floor
  std::vector<Run> runs;        // of corners
  std::vector<double> weights;  // [4][C]: of the four pixels at the corner, 2 * row + column
};

Plan make_plan(const Tensor& displacement, const Map& map) {
  Plan plan{map, displacement.size(0), {}, {}, {}};
  plan.corners = whole_shifts(
      displacement, [](double v) { return std::floor(v); }, map.from);
  plan.runs = runs_of(plan.corners);
  plan.weights.resize(4 * plan.C);
  const Tensor u = displacement.to(at::kDouble).contiguous();
  for (int64_t c = 0; c < plan.C; ++c) {
    const double p = fraction(u.const_data_ptr<double>()[2 * c]),
                 q = fraction(u.const_data_ptr<double>()[2 * c + 1]);
    const double weights[] = {(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q};
    for (int t = 0; t < 4; ++t) plan.weights[t * plan.C + c] = weights[t];
  }
  return plan;
}

// One image. x: [H][W][C], y: [H'][W'][C].
template <class T>
void interpolate_nhwc(const T* x, T* y, const Plan& plan) {
  using W = Wide<T>;
  const Map& map = plan.map;
  const int64_t C = plan.C, z_size = (map.from.width + 2) * C, row_size = map.to.width * C;
  const std::vector<W> weights(plan.weights.begin(), plan.weights.end());
  std::vector<Entry> entries;
  std::vector<W> z(2 * z_size), wide(std::is_same_v<T, W> ? 0 : row_size);
  int64_t held[2] = {-1, -1};  // which row of x each half of z holds
  auto row_at = [&](int64_t row) {
    W* half = z.data() + (row % 2) * z_size;
    if (held[row % 2] != row) gather_row(x, map.from, C, row, plan.runs, entries, half);
    held[row % 2] = row;
    return half;
  };
  for (int64_t i = 0; i < map.to.height; ++i) {
    const W* z0 = row_at(map.stride * i);
    const W* z1 = row_at(map.stride * i + 1);
    T* to = y + i * row_size;
    if constexpr (std::is_same_v<T, W>) {
      interpolate_row(z0, z1, map.to.width, map.stride, C, weights.data(), to);
    } else {
      interpolate_row(z0, z1, map.to.width, map.stride, C, weights.data(), wide.data());
      for (int64_t k = 0; k < row_size; ++k) to[k] = static_cast<T>(wide[k]);
    }
  }
}

// One channel of one image. x: [H][W], y: [H'][W'].
template <class T>
void interpolate_plane(const T* x, T* y, int64_t c, const Plan& plan) {
  using W = Wide<T>;
  const Map& map = plan.map;
  const Shift corner = plan.corners[c];
  std::vector<W> sum(map.to.width);
  for (int64_t i = 0; i < map.to.height; ++i, y += map.to.width) {
    std::fill(sum.begin(), sum.end(), W(0));
    for (int t = 0; t < 4; ++t) {
      const int64_t row = map.source_row(i, corner.dy + t / 2);
      const W weight = static_cast<W>(plan.weights[t * plan.C + c]);
      if (row < 0 || weight == 0) continue;
      const Span span = columns(map, corner.dx + t % 2);
      const T* from = x + row * map.from.width + span.from;
      for (int64_t k = 0; k < span.count; ++k) sum[span.to + k] += weight * W(from[k * span.from_step]);
    }
    for (int64_t j = 0; j < map.to.width; ++j) y[j] = static_cast<T>(sum[j]);
  }
}

template <class T>
void interpolate(const Tensor& x, Tensor& y, const Plan& plan, bool nhwc) {
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const Map& map = plan.map;
  const int64_t N = x.size(0), C = plan.C;
  const int64_t from_size = map.from.height * map.from.width, to_size = map.to.height * map.to.width;
  if (nhwc) {
    at::parallel_for(0, N, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        interpolate_nhwc(from + n * from_size * C, to + n * to_size * C, plan);
      }
    });
    return;
  }
  at::parallel_for(0, N * C, grain(to_size), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      interpolate_plane(from + p * from_size, to + p * to_size, p % C, plan);
    }
  });
}

Tensor forward(const Tensor& x_any, const Tensor& displacement, int64_t stride) {
  const MemoryFormat format = x_any.suggest_memory_format();
  const Tensor x = x_any.contiguous(format);
  const Size from{x.size(2), x.size(3)};
  const Size to{(from.height + stride - 1) / stride, (from.width + stride - 1) / stride};
  Tensor y = at::empty({x.size(0), x.size(1), to.height, to.width}, x.options(), format);
  if (y.numel() == 0) return y;
  const Plan plan = make_plan(displacement, {from, to, stride, false});
  for_type(x.scalar_type(),
           [&](auto zero) { interpolate<decltype(zero)>(x, y, plan, format == MemoryFormat::ChannelsLast); });
  return y;
}

Tensor grad_x(const Tensor& grad, const Tensor& displacement, int64_t height, int64_t width, int64_t stride) {
  if (stride == 1) return forward(grad, -displacement, 1);
  // Every pixel that was read through a stride gets its gradient back, the others none.
  Tensor spread = at::zeros({grad.size(0), grad.size(1), height, width},
                            grad.options().memory_format(grad.suggest_memory_format()));
  spread.slice(2, 0, height, stride).slice(3, 0, width, stride).copy_(grad);
  return forward(spread, -displacement, 1);
}

}  // namespace

Tensor active_shift_grad_x(const Tensor& grad, const Tensor& displacement, int64_t height, int64_t width,
                           int64_t stride) {
  return grad_x(grad, displacement, height, width, stride);
}

TORCH_LIBRARY_IMPL(fewshift, CPU, library) {
  library.impl("active_shift", forward);
  library.impl("active_shift_grad_x", grad_x);
}

}  // namespace fewshift
