// What the processor can do, where a compiler's own question does not tell on every compiler.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace fewshift {

// AVX-512's products of bfloat16 pairs (AVX512-BF16).
inline bool has_avx512_bf16() {
#ifdef __x86_64__
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
#else
  return false;
#endif
}

}  // namespace fewshift
