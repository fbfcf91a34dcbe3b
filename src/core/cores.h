// How many processors there are.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <thread>

namespace fewshift {

inline int cores() {
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace fewshift
