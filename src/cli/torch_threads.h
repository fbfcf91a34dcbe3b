// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/Parallel.h>

#include "cli/threads.h"

namespace fewshift::cli {

inline void set_threads(int asked) {
  at::set_num_threads(threads(asked));
}

}  // namespace fewshift::cli
