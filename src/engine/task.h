// Steps with their memory: what a session does, one after the other. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "engine/layout.h"
#include "kernels/kernels.h"

namespace fewshift::engine {

// Channels one by one, from wherever they are; by floats.
struct CopyChannels {
  struct From {
    const float* x;  // none: zeros
    int64_t row, pixel;
  };
  std::vector<From> from;
  float* y = nullptr;
  int64_t columns = 0, y_row = 0, y_block = 0;
  int lanes = 1;
};
// One picture of the batch into its map; and from a map to the logits.
struct TakeInput {
  int64_t channels = 0, rows = 0, columns = 0;
  float* y = nullptr;
  int64_t y_row = 0, y_block = 0;
  int lanes = 1;
};
struct GiveOutput {
  std::vector<CopyChannels::From> from;
  int64_t rows = 0, columns = 0, pictures = 1;  // pictures: columns of a tail's maps
};

struct Task {
  std::string name;
  std::variant<Pointwise, Depthwise, Pool, GlobalAverage, Unary, Binary, Affine, CopyChannels, TakeInput,
               GiveOutput>
      args;
  bool tail = false;
  int64_t own_column = 0;  // floats from one picture's place in y to the next one's, where y is in the tail
  int64_t blocks = 1, rows = 1;
  int64_t block_parts = 1, row_parts = 1;  // the pieces that threads take
  double madds = 0;
  bool shifts = false;
  std::vector<int32_t> offsets;  // what args point to
};

// In `memory` of layout.floats() zeros, for as many threads.
std::vector<Task> make_tasks(const Program& program, const Layout& layout, int64_t batch, int threads,
                             int lanes, float* memory);

}  // namespace fewshift::engine
