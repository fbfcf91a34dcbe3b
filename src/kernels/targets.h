// Which instruction sets a kernel family is compiled for, and how its functions for each are found. A
// family's file includes this before Highway, and its functions stand in fewshift::HWY_NAMESPACE.
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Of x86: AVX-512 (without the extensions that Highway 1.0.3 mixes up), AVX2 with FMA, SSE4.2, and whatever
// the compiler may assume, which depends on it and on Highway: SSE2, or single numbers. Of ARM: NEON; vectors
// of no fixed length do not fit tiles in registers.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/detect_targets.h>

// Calls X(namespace, isa) for every target, the best first. HWY_NAMESPACE is the baseline's wherever this is
// used.
#if HWY_ARCH_X86
#define FEWSHIFT_TARGETS(X) X(N_AVX3, kAvx512) X(N_AVX2, kAvx2) X(N_SSE4, kSse4) X(HWY_NAMESPACE, kBaseline)
#else
#define FEWSHIFT_TARGETS(X) X(HWY_NAMESPACE, kBaseline)
#endif

namespace fewshift {

enum class Isa { kAvx512, kAvx2, kSse4, kBaseline };

}  // namespace fewshift
