// Which pixel goes where: rounded displacements, runs of channels that move alike, rows and columns.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/shift_elements.h"

namespace fewshift {

struct Shift {
  int64_t dy, dx;
  bool operator==(const Shift&) const = default;
};

struct Run {  // neighbouring channels that move alike
  int64_t begin, count;
  Shift shift;
};

struct Size {
  int64_t height, width;
};

// A displacement to a whole number; one that leaves any image (NaN too) becomes `far`.
template <class Rounding>
int64_t whole(double u, Rounding round, int64_t far) {
  return std::abs(u) < static_cast<double>(far) ? static_cast<int64_t>(round(u)) : far;
}

template <class Rounding>
std::vector<Shift> whole_shifts(const at::Tensor& displacement, Rounding round, Size image) {
  const at::Tensor u = displacement.to(at::kDouble).contiguous();
  const double* p = u.const_data_ptr<double>();
  const int64_t far = 2 * (image.height + image.width) + 4;
  std::vector<Shift> shifts(u.size(0));
  for (size_t c = 0; c < shifts.size(); ++c) {
    shifts[c] = {whole(p[2 * c], round, far), whole(p[2 * c + 1], round, far)};
  }
  return shifts;
}

inline double half_to_even(double u) {
  return std::nearbyint(u);
}

using elements::fraction;

// Rows or planes of so many elements that a thread takes at a time.
inline int64_t grain(int64_t elements) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, elements));
}

// f(T{}) for the type of x.
template <class F>
void for_type(at::ScalarType type, F f) {
  if (type == at::kFloat) return f(float{});
  if (type == at::kDouble) return f(double{});
  TORCH_CHECK(type == at::kBFloat16, "shift: x must be float32, float64 or bfloat16, but is ", type);
  f(at::BFloat16{});
}

inline std::vector<Run> runs_of(const std::vector<Shift>& shifts) {
  std::vector<Run> runs;
  for (size_t c = 0; c < shifts.size(); ++c) {
    if (!runs.empty() && runs.back().shift == shifts[c]) {
      ++runs.back().count;
    } else {
      runs.push_back({static_cast<int64_t>(c), 1, shifts[c]});
    }
  }
  return runs;
}

// Copies between a big grid (x) and a small one (y, a `stride`-th of it): y[i] <-> x[stride * i + shift].
// Forward reads the big grid and writes the small one; the adjoint the other way round.
struct Map {
  Size from, to;
  int64_t stride;
  bool adjoint;

  Size big() const { return adjoint ? to : from; }
  Size small() const { return adjoint ? from : to; }

  // The source row for row `i` of the target, or -1.
  int64_t source_row(int64_t i, int64_t dy) const {
    if (!adjoint) {
      const int64_t row = stride * i + dy;
      return row >= 0 && row < from.height ? row : -1;
    }
    const int64_t row = i - dy;
    return row >= 0 && row % stride == 0 && row / stride < from.height ? row / stride : -1;
  }
};

struct Span {  // columns: target[to + k * to_step] = source[from + k * from_step], k < count
  int64_t to, from, count, to_step, from_step;
};

inline Span columns(const Map& map, int64_t dx) {
  const int64_t s = map.stride, big = map.big().width, small = map.small().width;
  const int64_t begin = dx >= 0 ? 0 : std::min(small, (-dx + s - 1) / s);
  const int64_t end = big - 1 - dx < 0 ? 0 : std::min(small, (big - 1 - dx) / s + 1);
  const int64_t count = std::max<int64_t>(0, end - begin);
  if (map.adjoint) return {s * begin + dx, begin, count, s, 1};
  return {begin, s * begin + dx, count, 1, s};
}

// The gradient for the displacements u: [C][2], from the four correlations of each channel and image,
// sums: [N][4][C], S(k,l) = sum of dy * Z(k,l) at 2k + l; see the mathematics in docs/mathematics.md. du:
// [C][2].
void displacement_gradient(const std::vector<double>& sums, int64_t N, int64_t C, const double* u,
                           double* du);

}  // namespace fewshift
