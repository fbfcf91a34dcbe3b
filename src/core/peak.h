// What this processor can do at most, measured there and then.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace fewshift {

// float32 multiply-adds of `threads` threads at once, from registers alone, in GFLOP/s (two a multiply-add):
// the best of many short tries, since others may be using the machine, with the widest vectors there are.
double peak_gflops(int threads);

// Rounds of the loop behind it on this thread; the operations done.
double multiply_adds(int64_t rounds);

}  // namespace fewshift
