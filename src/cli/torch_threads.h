// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/Parallel.h>
#include <malloc.h>

#include "cli/threads.h"

namespace fewshift::cli {

inline void set_threads(int asked) {
  at::set_num_threads(threads(asked));
}

// Memory that is freed stays with the process: tensors of megabytes are made and dropped at every layer, and
// the system's new pages cost more than what is computed in them (a third of a training step,
// docs/performance.md).
inline void keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace fewshift::cli
