// The sparse shift written for clarity: the definition that the kernels are tested against.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <cmath>

namespace fewshift::reference {

// x: [N,C,H,W] float64, contiguous; 0 outside.
inline double at_or_zero(const torch::TensorAccessor<double, 4>& x, int64_t n, int64_t c, int64_t i,
                         int64_t j) {
  return i >= 0 && i < x.size(2) && j >= 0 && j < x.size(3) ? x[n][c][i][j] : 0.0;
}

// y[n,c,i,j] = read(x, u, n, c, s*i, s*j), in double; u: the displacements.
template <class Read>
torch::Tensor each_output(const torch::Tensor& x_any, const torch::Tensor& displacement, int64_t s,
                          Read read) {
  const auto x_tensor = x_any.to(torch::kDouble).contiguous();
  const auto u_tensor = displacement.to(torch::kDouble).contiguous();
  auto y_tensor =
      torch::zeros({x_any.size(0), x_any.size(1), (x_any.size(2) + s - 1) / s, (x_any.size(3) + s - 1) / s},
                   torch::kDouble);
  const auto x = x_tensor.accessor<double, 4>();
  const auto u = u_tensor.accessor<double, 2>();
  auto y = y_tensor.accessor<double, 4>();
  for (int64_t n = 0; n < y.size(0); ++n)
    for (int64_t c = 0; c < y.size(1); ++c)
      for (int64_t i = 0; i < y.size(2); ++i)
        for (int64_t j = 0; j < y.size(3); ++j) y[n][c][i][j] = read(x, u, n, c, s * i, s * j);
  return y_tensor;
}

// y[n,c,i,j] = x[n,c, s*i + round(dy), s*j + round(dx)]; see sparse_shift.h.
inline torch::Tensor sparse_shift(const torch::Tensor& x, const torch::Tensor& displacement, int64_t s) {
  return each_output(x, displacement, s, [](auto& x, auto& u, int64_t n, int64_t c, int64_t i, int64_t j) {
    return at_or_zero(x, n, c, i + std::llrint(u[c][0]), j + std::llrint(u[c][1]));
  });
}

// The same with bilinear interpolation at the real-valued displacement: the active shift, and what the
// displacement's gradient is of.
inline torch::Tensor bilinear_shift(const torch::Tensor& x, const torch::Tensor& displacement, int64_t s) {
  return each_output(x, displacement, s, [](auto& x, auto& u, int64_t n, int64_t c, int64_t i, int64_t j) {
    const int64_t a = std::llrint(std::floor(u[c][0])), b = std::llrint(std::floor(u[c][1]));
    const double p = u[c][0] - a, q = u[c][1] - b;
    auto z = [&](int64_t k, int64_t l) { return at_or_zero(x, n, c, i + a + k, j + b + l); };
    return (1 - p) * ((1 - q) * z(0, 0) + q * z(0, 1)) + p * ((1 - q) * z(1, 0) + q * z(1, 1));
  });
}

}  // namespace fewshift::reference
