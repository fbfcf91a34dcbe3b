// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernels.h"

#include <cstdlib>

#include "core/error.h"
#include "kernels/targets.h"

#include <hwy/highway.h>
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace fewshift {

#define FEWSHIFT_DECLARE(target, isa) \
  namespace target {                  \
  void fill_pointwise(Kernels&);      \
  void fill_depthwise(Kernels&);      \
  void fill_pool(Kernels&);           \
  void fill_elementwise(Kernels&);    \
  void fill_planar(Kernels&);         \
  void fill_planar_passes(Kernels&);  \
  }
FEWSHIFT_TARGETS(FEWSHIFT_DECLARE)
#undef FEWSHIFT_DECLARE

namespace {

#if HWY_ARCH_ARM_A64
constexpr const char* kBaselineName = "neon";
#else
constexpr const char* kBaselineName = "baseline";
#endif
constexpr const char* kNames[] = {"avx512", "avx2", "sse4", kBaselineName};

#if HWY_ARCH_X86
bool has_f16c() {  // which clang 14's __builtin_cpu_supports does not know
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

bool is_here(Isa isa) {
#if HWY_ARCH_X86
  auto all = [](auto... has) { return (has && ...); };
  const bool avx2 = all(__builtin_cpu_supports("avx2"), __builtin_cpu_supports("fma"),
                        __builtin_cpu_supports("bmi"), __builtin_cpu_supports("bmi2"), has_f16c(),
                        __builtin_cpu_supports("aes"), __builtin_cpu_supports("pclmul"));
  switch (isa) {
    case Isa::kAvx512:
      return avx2 && all(__builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512bw"),
                         __builtin_cpu_supports("avx512cd"), __builtin_cpu_supports("avx512dq"),
                         __builtin_cpu_supports("avx512vl"));
    case Isa::kAvx2:
      return avx2;
    case Isa::kSse4:
      return all(__builtin_cpu_supports("sse4.2"), __builtin_cpu_supports("aes"),
                 __builtin_cpu_supports("pclmul"));
    case Isa::kBaseline:
      return true;
  }
  return false;
#else
  return isa == Isa::kBaseline;
#endif
}

std::vector<Kernels> make_all() {
  std::vector<Kernels> all;
#define FEWSHIFT_ADD(target, which)                        \
  if (is_here(Isa::which)) {                               \
    all.emplace_back();                                    \
    all.back().isa = kNames[static_cast<int>(Isa::which)]; \
    target::fill_pointwise(all.back());                    \
    target::fill_depthwise(all.back());                    \
    target::fill_pool(all.back());                         \
    target::fill_elementwise(all.back());                  \
    target::fill_planar(all.back());                       \
    target::fill_planar_passes(all.back());                \
  }
  FEWSHIFT_TARGETS(FEWSHIFT_ADD)
#undef FEWSHIFT_ADD
  return all;
}

const Kernels& choose() {
  const char* wanted = std::getenv("FEWSHIFT_ISA");
  if (!wanted || !*wanted) return all_kernels().front();
  if (wanted == std::string("reference")) {
    static const Kernels plain = reference_kernels(16);
    return plain;
  }
  std::string names;
  for (const Kernels& k : all_kernels()) {
    if (wanted == std::string(k.isa)) return k;
    names += (names.empty() ? "" : ", ") + std::string(k.isa);
  }
  throw Error(ErrorCode::kInvalidArgument, "FEWSHIFT_ISA",
              "\"" + std::string(wanted) + "\" is none of those here: " + names + ", reference");
}

}  // namespace

const std::vector<Kernels>& all_kernels() {
  static const std::vector<Kernels> all = make_all();
  return all;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace fewshift
