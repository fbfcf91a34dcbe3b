// SPDX-License-Identifier: Apache-2.0
#include "engine/execute.h"

#include <algorithm>

namespace fewshift::engine {
namespace {

// y of a picture's own column, where it goes into a tail: never over what it reads, but for a sum over a
// copy.
template <class Args>
Args in_column(Args args, int64_t floats) {
  if constexpr (std::is_same_v<Args, Pointwise>) {
    if (args.residual == args.y) args.residual += floats;
  }
  args.y += floats;
  return args;
}

void copy_channels(const CopyChannels& args, const Part& part, int64_t column) {
  const auto channels = static_cast<int64_t>(args.from.size());
  for (int64_t c = part.block_begin * args.lanes; c < std::min(channels, part.block_end * args.lanes); ++c) {
    const CopyChannels::From& from = args.from[c];
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      float* y = args.y + column + c / args.lanes * args.y_block + i * args.y_row + c % args.lanes;
      const float* x = from.x + i * from.row;
      for (int64_t j = 0; j < args.columns; ++j) y[j * args.lanes] = from.x ? x[j * from.pixel] : 0.0f;
    }
  }
}

void take_input(const TakeInput& args, const Part& part, const float* input) {
  for (int64_t c = 0; c < args.channels; ++c) {
    for (int64_t i = part.row_begin; i < part.row_end; ++i) {
      const float* x = input + (c * args.rows + i) * args.columns;
      float* y = args.y + c / args.lanes * args.y_block + i * args.y_row + c % args.lanes;
      if (args.lanes == 1) {
        std::copy_n(x, args.columns, y);
      } else {
        for (int64_t j = 0; j < args.columns; ++j) y[j * args.lanes] = x[j];
      }
    }
  }
}

void give_output(const GiveOutput& args, float* output) {
  for (int64_t n = 0; n < args.pictures; ++n) {
    for (const CopyChannels::From& from : args.from) {
      for (int64_t i = 0; i < args.rows; ++i) {
        for (int64_t j = 0; j < args.columns; ++j, ++output)
          *output = from.x ? from.x[i * from.row + (args.pictures > 1 ? n : j) * from.pixel] : 0.0f;
      }
    }
  }
}

// Rows [begin, end) of a band of the hidden map, all channels: moved to row `to`, or cleared.
void move_rows(const Pointwise& expand, float* y, int64_t blocks, int64_t begin, int64_t end, int64_t to) {
  for (int64_t b = 0; b < blocks; ++b, y += expand.y_block)
    std::copy(y + begin * expand.y_row, y + end * expand.y_row, y + to * expand.y_row);
}
void clear_rows(const Pointwise& expand, float* y, int64_t blocks, int64_t begin, int64_t end) {
  for (int64_t b = 0; b < blocks && begin < end; ++b, y += expand.y_block)
    std::fill(y + begin * expand.y_row, y + end * expand.y_row, 0.0f);
}

// Rows [from, to) of what comes out of a unit. `own`: floats from the first thread's bands to this one's.
void compute_bands(const Kernels& kernels, const Task& task, const Bands& bands, int64_t from, int64_t to,
                   int64_t own) {
  const Unit& unit = bands.unit;
  const Task &first = task.parts.front(), &last = task.parts.back();
  const auto &expand = *std::get_if<Pointwise>(&first.args), &project = *std::get_if<Pointwise>(&last.args);
  float* hidden = expand.y + own;
  int64_t kept_begin = 0, kept_end = 0;  // rows of the hidden map in the band
  for (int64_t r0 = from; r0 < to; r0 += unit.band) {
    const int64_t r1 = std::min(r0 + unit.band, to), rows = r1 - r0;
    const int64_t low = unit.stride * r0 - unit.above, high = unit.stride * (r1 - 1) + unit.below + 1;
    int64_t begin = low;  // of the rows that are new
    if (r0 > from && kept_end > low) {
      move_rows(expand, hidden, first.blocks, low - kept_begin, kept_end - kept_begin, 0);
      begin = kept_end;
    }
    kept_begin = low, kept_end = high;
    const int64_t inside = std::clamp<int64_t>(begin, 0, bands.hidden_rows),
                  outside = std::clamp<int64_t>(high, inside, bands.hidden_rows);
    clear_rows(expand, hidden, first.blocks, begin - low, std::min(inside, high) - low);
    clear_rows(expand, hidden, first.blocks, std::max(outside, begin) - low, high - low);
    Pointwise wide = expand;
    wide.x += inside * expand.x_row;
    wide.y = hidden + (inside - low) * expand.y_row;
    if (inside < outside) kernels.pointwise(wide, {0, first.blocks, 0, outside - inside});

    const int64_t ahead = unit.above * expand.y_row;  // to the row that output row r0 stands over
    Pointwise narrow = project;
    narrow.x += own;
    if (task.parts.size() == 2) {
      narrow.x += ahead;
    } else if (const auto* pool = std::get_if<Pool>(&task.parts[1].args)) {
      Pool middle = *pool;
      middle.x += own, middle.y += own;
      middle.x_rows = 2 * rows;
      kernels.pool(middle, {0, task.parts[1].blocks, 0, rows});
    } else {
      Depthwise middle = *std::get_if<Depthwise>(&task.parts[1].args);
      middle.x += own + ahead, middle.y += own;
      kernels.depthwise(middle, {0, task.parts[1].blocks, 0, rows});
    }
    narrow.y += r0 * project.y_row;
    if (narrow.residual) narrow.residual += r0 * project.y_row;
    kernels.pointwise(narrow, {0, last.blocks, 0, rows});
  }
}

struct Execution {
  const Kernels& kernels;
  const Task& task;
  const Part part;
  const int64_t picture, column;
  const int thread;
  const float* input;
  float* output;

  template <class Args>
  void call(void (*kernel)(const Args&, const Part&), const Args& args) const {
    column == 0 ? kernel(args, part) : kernel(in_column(args, column), part);
  }
  void operator()(const Pointwise& args) const { call(kernels.pointwise, args); }
  void operator()(const Depthwise& args) const { call(kernels.depthwise, args); }
  void operator()(const Pool& args) const { call(kernels.pool, args); }
  void operator()(const GlobalAverage& args) const { call(kernels.global_average, args); }
  void operator()(const Unary& args) const { call(kernels.unary, args); }
  void operator()(const Binary& args) const { call(kernels.binary, args); }
  void operator()(const Affine& args) const { call(kernels.affine, args); }
  void operator()(const CopyChannels& args) const { copy_channels(args, part, column); }
  void operator()(const Bands& args) const {
    compute_bands(kernels, task, args, part.row_begin, part.row_end, thread * args.thread_floats);
  }
  void operator()(const TakeInput& args) const {
    take_input(args, part, input + picture * args.channels * args.rows * args.columns);
  }
  void operator()(const GiveOutput& args) const {
    give_output(args, output + picture * static_cast<int64_t>(args.from.size()) * args.rows * args.columns);
  }
};

}  // namespace

void execute(const Kernels& kernels, const Task& task, int64_t piece, int64_t picture, int thread,
             const float* input, float* output) noexcept {
  const int64_t block = piece / task.row_parts, row = piece % task.row_parts;
  const Part part{block * task.blocks / task.block_parts, (block + 1) * task.blocks / task.block_parts,
                  row * task.rows / task.row_parts, (row + 1) * task.rows / task.row_parts};
  std::visit(Execution{kernels, task, part, picture, picture * task.own_column, thread, input, output},
             task.args);
}

}  // namespace fewshift::engine
