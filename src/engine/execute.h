// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "engine/task.h"

namespace fewshift::engine {

// What a session is called with.
struct Arrays {
  const float* input = nullptr;
  float* output = nullptr;
  float* features = nullptr;  // or none
};

// Piece `piece` of block_parts * row_parts of a task, for picture `picture` of the batch (0 for a tail), on
// thread number `thread`, which has `kept` for itself. `run` is another number each time that the tasks are
// gone through.
void execute(const Kernels& kernels, const Task& task, int64_t piece, int64_t picture, int thread, Kept& kept,
             int64_t run, const Arrays& arrays) noexcept;

}  // namespace fewshift::engine
