// Steps with their memory: what a session does, one after the other. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "engine/layout.h"
#include "engine/units.h"
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
  bool features = false;                        // else the output
};

struct SoftMaxPixels {
  const float* x = nullptr;
  int64_t x_row = 0, x_block = 0;
  float* y = nullptr;
  int64_t channels = 0, columns = 0, y_row = 0, y_block = 0;
  int lanes = 1;
};

// A unit's steps as its parts, band by band. Their pointers are those of the first thread.
struct Bands {
  Unit unit;
  int64_t hidden_rows = 0;    // of the whole map
  int64_t thread_floats = 0;  // from one thread's bands to the next one's
};
// Before a unit that writes over its input, if it has pieces: what it reads of the rows beside their borders,
// as blocks of channels.
struct SaveRows {
  std::vector<const float*> blocks;  // row 0 of each
  int64_t x_row = 0, floats = 0;     // floats of a row
  int64_t rows = 0, pieces = 0;      // of the unit
  int64_t above = 0, below = 0;
  float* y = nullptr;
};
// What it saves: [pieces - 1][above + below][row], and where in a row the unit finds its inputs.
struct SavedRows {
  AlignedFloats floats;
  std::vector<int32_t> offsets;
  int64_t row = 0;
};

struct Task {
  std::string name;
  std::variant<Pointwise, Depthwise, Pool, GlobalAverage, Unary, Binary, Affine, CopyChannels, TakeInput,
               GiveOutput, Bands, SaveRows, SoftMaxPixels>
      args;
  bool tail = false;
  int64_t own_column = 0;  // floats from one picture's place in y to the next one's, where y is in the tail
  int64_t blocks = 1, rows = 1;
  int64_t block_parts = 1, row_parts = 1;  // the pieces that threads take
  double madds = 0;
  bool shifts = false;
  std::vector<int32_t> offsets;  // what args point to
  std::vector<Task> parts;       // of Bands
  SavedRows saved;               // for Bands
};

// What a thread's bands hold of a unit's hidden map: what rows [begin, end) needed that came out in run
// `run`.
struct Kept {
  const Task* task = nullptr;
  int64_t run = 0, begin = 0, end = 0;
};

struct Place {
  const Layout& layout;
  float* memory;  // of layout.floats() zeros
  float* tail;    // the same, or another's, where the tail's maps are
};
// `threads` share each task; or, where whole_pictures, only those of the tail.
std::vector<Task> make_tasks(const Program& program, const std::map<int, Unit>& units, const Place& place,
                             int64_t batch, int threads, bool whole_pictures, int lanes);

}  // namespace fewshift::engine
