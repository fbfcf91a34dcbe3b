// The sparse shift on the CPU, forward and backward, in both memory layouts.
//
// contiguous (NCHW): a plane at a time; a row is a copy of a row. channels_last (NHWC): shift_nhwc.h.
// Results do not depend on the number of threads: images are reduced in order, in double.
// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <cstring>

#include "ops/shift_geometry.h"
#include "ops/shift_gradients.h"
#include "ops/shift_nhwc.h"

namespace fewshift {
void displacement_gradient(const std::vector<double>& sums, int64_t N, int64_t C, const double* u,
                           double* du) {
  std::fill_n(du, 2 * C, 0.0);
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) {
      auto s = [&](int k, int l) { return sums[(n * 4 + 2 * k + l) * C + c]; };
      const double p = fraction(u[2 * c]), q = fraction(u[2 * c + 1]);
      du[2 * c] += (1 - q) * (s(1, 0) - s(0, 0)) + q * (s(1, 1) - s(0, 1));
      du[2 * c + 1] += (1 - p) * (s(0, 1) - s(0, 0)) + p * (s(1, 1) - s(1, 0));
    }
  }
}

namespace {

using at::MemoryFormat;
using at::Tensor;

template <class T>
void shift_plane(const T* x, T* y, const Map& map, Shift shift) {
  const Span span = columns(map, shift.dx);
  const bool whole_row = span.count == map.to.width;
  for (int64_t i = 0; i < map.to.height; ++i) {
    T* to = y + i * map.to.width;
    const int64_t row = map.source_row(i, shift.dy);
    if (row < 0 || !whole_row) std::memset(static_cast<void*>(to), 0, map.to.width * sizeof(T));
    if (row < 0 || span.count == 0) continue;
    const T* from = x + row * map.from.width;
    if (span.to_step == 1 && span.from_step == 1) {
      std::memcpy(static_cast<void*>(to + span.to), from + span.from, span.count * sizeof(T));
    } else {
      for (int64_t k = 0; k < span.count; ++k) {
        to[span.to + k * span.to_step] = from[span.from + k * span.from_step];
      }
    }
  }
}

template <class T>
void shift_image(const Tensor& x, Tensor& y, const std::vector<Shift>& shifts, const Map& map, bool nhwc) {
  const int64_t N = x.size(0), C = x.size(1);
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const int64_t from_size = map.from.height * map.from.width, to_size = map.to.height * map.to.width;
  if (!nhwc) {
    at::parallel_for(0, N * C, grain(to_size), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        shift_plane(from + p * from_size, to + p * to_size, map, shifts[p % C]);
    });
    return;
  }
  const Rows rows(map, shifts);
  at::parallel_for(0, N * map.to.height, grain(map.to.width * C), [&](int64_t begin, int64_t end) {
    std::vector<Entry> entries;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / map.to.height, i = r % map.to.height;
      const T* image = from + n * from_size * C;
      T* target = to + (n * to_size + i * map.to.width) * C;
      if (map.adjoint) {
        spread_row_nhwc(image, target, i, rows);
      } else {
        shift_row_nhwc(image, target, i, rows, entries);
      }
    }
  });
}

Tensor run_map(const Tensor& x_any, const std::vector<Shift>& shifts, Size to, int64_t stride, bool adjoint) {
  const MemoryFormat format = x_any.suggest_memory_format();
  const Tensor x = x_any.contiguous(format);
  Tensor y = at::empty({x.size(0), x.size(1), to.height, to.width}, x.options(), format);
  if (y.numel() == 0) return y;
  if (x.numel() == 0) return y.zero_();
  const Map map{{x.size(2), x.size(3)}, to, stride, adjoint};
  for_type(x.scalar_type(), [&](auto zero) {
    shift_image<decltype(zero)>(x, y, shifts, map, format == MemoryFormat::ChannelsLast);
  });
  return y;
}

Tensor forward(const Tensor& x, const Tensor& displacement, int64_t stride) {
  const Size image{x.size(2), x.size(3)};
  return run_map(x, whole_shifts(displacement, half_to_even, image),
                 {(image.height + stride - 1) / stride, (image.width + stride - 1) / stride}, stride, false);
}

Tensor grad_x(const Tensor& grad, const Tensor& displacement, int64_t height, int64_t width, int64_t stride) {
  std::vector<Shift> shifts = whole_shifts(displacement, half_to_even, {height, width});
  const bool spread = stride != 1;  // with stride 1 the adjoint is the shift by the opposite
  if (!spread) {
    for (Shift& shift : shifts) shift = {-shift.dy, -shift.dx};
  }
  return run_map(grad, shifts, {height, width}, stride, spread);
}

// ---- The gradient for the displacement: four correlations a channel, S(k,l) = sum of dy * Z(k,l). ----

struct Taps {
  double s[2][2] = {};
};

// sum over j of dy[j] * x[stride * j + shift], where that lies in the row.
template <class T>
double dot_row(const T* dy, const T* x, const Span& span) {
  Wide<T> sum = 0;
  const T* a = dy + span.to;
  const T* b = x + span.from;
  if (span.from_step == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < span.count; ++k) sum += Wide<T>(a[k]) * Wide<T>(b[k]);
  } else {
    for (int64_t k = 0; k < span.count; ++k) sum += Wide<T>(a[k]) * Wide<T>(b[k * span.from_step]);
  }
  return static_cast<double>(sum);
}

template <class T>
Taps correlate_plane(const T* dy, const T* x, const Map& map, Shift corner) {
  Taps taps;
  const Span span[2] = {columns(map, corner.dx), columns(map, corner.dx + 1)};
  for (int64_t i = 0; i < map.to.height; ++i) {
    for (int k = 0; k < 2; ++k) {
      const int64_t row = map.source_row(i, corner.dy + k);
      if (row < 0) continue;
      for (int l = 0; l < 2; ++l) {
        taps.s[k][l] += dot_row(dy + i * map.to.width, x + row * map.from.width, span[l]);
      }
    }
  }
  return taps;
}

// sums: [N][4][C]
template <class T>
void correlate(const Tensor& grad, const Tensor& x, const std::vector<Shift>& corners, const Map& map,
               bool nhwc, std::vector<double>& sums) {
  const int64_t N = x.size(0), C = x.size(1);
  const int64_t x_size = map.from.height * map.from.width, y_size = map.to.height * map.to.width;
  const T* dy = grad.const_data_ptr<T>();
  const T* in = x.const_data_ptr<T>();
  const std::vector<Run> runs = nhwc ? runs_of(corners) : std::vector<Run>{};
  at::parallel_for(0, N, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      double* taps = sums.data() + n * 4 * C;
      if (nhwc) {
        correlate_image_nhwc(dy + n * y_size * C, in + n * x_size * C, map, C, runs, taps);
        continue;
      }
      for (int64_t c = 0; c < C; ++c) {
        const int64_t plane = n * C + c;
        const Taps t = correlate_plane(dy + plane * y_size, in + plane * x_size, map, corners[c]);
        for (int k = 0; k < 4; ++k) taps[k * C + c] = t.s[k / 2][k % 2];
      }
    }
  });
}

Tensor grad_displacement(const Tensor& grad_any, const Tensor& x_any, const Tensor& displacement,
                         int64_t stride) {
  const MemoryFormat format = x_any.suggest_memory_format();
  const Tensor x = x_any.contiguous(format), grad = grad_any.to(x.scalar_type()).contiguous(format);
  const int64_t N = x.size(0), C = x.size(1);
  const Map map{{x.size(2), x.size(3)}, {grad.size(2), grad.size(3)}, stride, false};
  const Tensor u_tensor = displacement.to(at::kDouble).contiguous();
  const double* u = u_tensor.const_data_ptr<double>();
  const auto corners = whole_shifts(
      displacement, [](double v) { return std::floor(v); }, map.from);
  std::vector<double> sums(N * 4 * C, 0.0);
  if (x.numel() > 0 && grad.numel() > 0) {
    for_type(x.scalar_type(), [&](auto zero) {
      correlate<decltype(zero)>(grad, x, corners, map, format == MemoryFormat::ChannelsLast, sums);
    });
  }
  Tensor result = at::empty({C, 2}, displacement.options().dtype(at::kDouble).memory_format({}));
  displacement_gradient(sums, N, C, u, result.mutable_data_ptr<double>());
  return result.to(displacement.scalar_type());
}

}  // namespace

Tensor sparse_shift_grad_x(const Tensor& grad, const Tensor& displacement, int64_t height, int64_t width,
                           int64_t stride) {
  return grad_x(grad, displacement, height, width, stride);
}

Tensor shift_grad_displacement(const Tensor& grad, const Tensor& x, const Tensor& displacement,
                               int64_t stride) {
  return grad_displacement(grad, x, displacement, stride);
}

TORCH_LIBRARY_IMPL(fewshift, CPU, library) {
  library.impl("sparse_shift", forward);
  library.impl("sparse_shift_grad_x", grad_x);
  library.impl("shift_grad_displacement", grad_displacement);
}

}  // namespace fewshift
