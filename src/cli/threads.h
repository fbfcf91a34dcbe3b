// How many threads a command may use.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/cores.h"

namespace fewshift::cli {

// What was asked for, or as many as there are cores that nothing else keeps busy.
inline int threads(int asked) {
  return asked > 0 ? asked : free_cores();
}

// The same for measuring: as many as there are cores.
inline int all_threads(int asked) {
  return asked > 0 ? asked : cores();
}

}  // namespace fewshift::cli
