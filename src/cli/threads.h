// How many threads a command may use.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <thread>

namespace fewshift::cli {

// What was asked for, or all cores.
inline int threads(int asked) {
  return asked > 0 ? asked : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

inline void set_threads(int asked) {
  at::set_num_threads(threads(asked));
}

}  // namespace fewshift::cli
