// SPDX-License-Identifier: Apache-2.0
#include "core/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace fewshift {
namespace {

constexpr int kSums = 12;  // enough to hide the latency, few enough for sixteen registers

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef float Sixteen __attribute__((vector_size(64)));

template <class Vector>
inline __attribute__((always_inline)) float multiply_add(int64_t rounds) {
  constexpr int kLanes = sizeof(Vector) / sizeof(float);
  Vector sums[kSums], a, b;
  for (int lane = 0; lane < kLanes; ++lane) {
    a[lane] = 0.999f, b[lane] = 0.001f;
    // All different, or the compiler would compute one for all.
    for (int k = 0; k < kSums; ++k) sums[k][lane] = static_cast<float>(rounds % 7 + kLanes * k + lane);
  }
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) sums[k] = sums[k] * a + b;
  }
  float total = 0;
  for (const Vector& sum : sums) {
    for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  }
  return total;
}

struct Loop {
  float (*run)(int64_t rounds);
  int lanes;
};

float narrow(int64_t rounds) {
  return multiply_add<Four>(rounds);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) float avx2(int64_t rounds) {
  return multiply_add<Eight>(rounds);
}
__attribute__((target("avx512f"))) float avx512(int64_t rounds) {
  return multiply_add<Sixteen>(rounds);
}
Loop widest() {
  if (__builtin_cpu_supports("avx512f")) return {avx512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {avx2, 8};
  return {narrow, 4};
}
#else
Loop widest() {
  return {narrow, 4};
}
#endif

}  // namespace

double multiply_adds(int64_t rounds) {
  static const Loop loop = widest();
  static std::atomic<float> sink;
  sink = loop.run(rounds);
  return 2.0 * kSums * loop.lanes * static_cast<double>(rounds);
}

double peak_gflops(int threads) {
  constexpr int64_t kRounds = 1'000'000;  // milliseconds, beside which starting threads is nothing
  double best = 0;
  for (int attempt = 0; attempt < 30; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back([] { multiply_adds(kRounds); });
    const double operations = threads * multiply_adds(kRounds);
    for (std::thread& other : others) other.join();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, operations / seconds / 1e9);
  }
  return best;
}

}  // namespace fewshift
