// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/Parallel.h>

#include "cli/threads.h"
#include "cli/waiting.h"

namespace fewshift::cli {

// LibTorch's. To be called before any work is done (waiting.h).
inline void set_threads(int count) {
  if (count > 1) wait_briefly();
  at::set_num_threads(count);
}

}  // namespace fewshift::cli
