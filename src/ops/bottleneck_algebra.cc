// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_algebra.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "core/target_clones.h"
#include "ops/batch_norm_sums.h"

namespace fewshift::bottleneck {
namespace {

constexpr int64_t kRows = 16;  // that are worth a thread

// to[0..n) += sum over k of factors[k * step] * rows[k * pitch + 0..n)
FEWSHIFT_CLONES void add_rows(const double* factors, int64_t step, const double* rows, int64_t pitch,
                              int64_t count, int64_t n, double* to) {
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    const double *const f = factors + k * step, *const row = rows + k * pitch;
    const double a = f[0], b = f[step], c = f[2 * step], d = f[3 * step];
#pragma omp simd
    for (int64_t j = 0; j < n; ++j)
      to[j] += (a * row[j] + b * row[pitch + j]) + (c * row[2 * pitch + j] + d * row[3 * pitch + j]);
  }
  for (; k < count; ++k) {
    const double factor = factors[k * step], *const row = rows + k * pitch;
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) to[j] += factor * row[j];
  }
}

FEWSHIFT_CLONES double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += a[j] * b[j];
  return sum;
}

}  // namespace

Statistics statistics(const float* weight, int64_t hidden, const std::vector<double>& mean,
                      const std::vector<double>& covariance) {
  const auto C = static_cast<int64_t>(mean.size());
  Statistics s{hidden,
               C,
               {weight, weight + hidden * C},
               std::vector<double>(hidden * C),
               std::vector<double>(hidden),
               std::vector<double>(hidden)};
  at::parallel_for(0, hidden, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const double* const w = &s.W[m * C];
      add_rows(w, 1, covariance.data(), C, C, C, &s.WS[m * C]);
      s.mean[m] = dot(w, mean.data(), C);
      s.variance[m] = std::max(0.0, dot(w, &s.WS[m * C], C));
    }
  });
  return s;
}

ExpandGradients expand_gradients(const Statistics& s, const double* r_sigma, const double* gamma,
                                 const std::vector<double>& off, const std::vector<double>& G,
                                 const std::vector<double>& r, double pixels) {
  const int64_t C = s.width, M = s.hidden;
  ExpandGradients g{std::vector<float>(M * C), std::vector<float>(M), std::vector<float>(C * (C + 1))};
  std::vector<double> factors(M * C), totals(2 * M);  // of all processes: dgamma, and r
  at::parallel_for(0, M, kRows, [&](int64_t begin, int64_t end) {
    std::vector<double> G_m(C);
    for (int64_t m = begin; m < end; ++m) {
      const double *const w = &s.W[m * C], *const WS = &s.WS[m * C];
      for (int64_t j = 0; j < C; ++j) G_m[j] = G[m * C + j] + off[j] * r[m];
      const double scale = gamma[m] * r_sigma[m], dgamma = dot(w, G_m.data(), C) * r_sigma[m],
                   back = dgamma * r_sigma[m];
      g.dgamma[m] = static_cast<float>(dgamma);
      for (int64_t j = 0; j < C; ++j) g.dW[m * C + j] = static_cast<float>(scale * (G_m[j] - WS[j] * back));
      totals[m] = dgamma, totals[M + m] = r[m];
    }
  });
  add_up_sums(totals);
  std::vector<double> last(M);
  at::parallel_for(0, M, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const double scale = gamma[m] * r_sigma[m] / pixels, factor = -scale * totals[m] * r_sigma[m];
      for (int64_t j = 0; j < C; ++j) factors[m * C + j] = factor * s.W[m * C + j];
      last[m] = -scale * totals[M + m];
    }
  });
  at::parallel_for(0, C, 1 + kRows * C / M, [&](int64_t begin, int64_t end) {
    std::vector<double> row(C);
    for (int64_t i = begin; i < end; ++i) {
      std::fill(row.begin(), row.end(), 0.0);
      add_rows(&factors[i], C, s.W.data(), C, M, C, row.data());
      std::copy(row.begin(), row.end(), &g.correction[i * (C + 1)]);
      double bias = dot(row.data(), off.data(), C);
      for (int64_t m = 0; m < M; ++m) bias += last[m] * s.W[m * C + i];
      g.correction[i * (C + 1) + C] = static_cast<float>(bias);
    }
  });
  return g;
}

}  // namespace fewshift::bottleneck
