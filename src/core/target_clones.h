// Functions compiled several times, for processors with AVX-512, with AVX2 and without; the loader picks one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

// g++ on x86-64 alone; under the sanitizers the plain function is the one to look at.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define FEWSHIFT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FEWSHIFT_CLONES
#endif
