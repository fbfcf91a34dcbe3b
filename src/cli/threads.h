// How many threads a command may use.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/cores.h"

namespace fewshift::cli {

// What was asked for, or all cores.
inline int threads(int asked) {
  return asked > 0 ? asked : cores();
}

}  // namespace fewshift::cli
