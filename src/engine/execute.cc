// SPDX-License-Identifier: Apache-2.0
#include "engine/execute.h"

#include <algorithm>
#include <cmath>

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

void soft_max(const SoftMaxPixels& args, const Part& part, int64_t column) {
  auto at = [&](int64_t c, int64_t block) { return c / args.lanes * block + c % args.lanes; };
  for (int64_t i = part.row_begin; i < part.row_end; ++i) {
    for (int64_t j = 0; j < args.columns; ++j) {
      const float* x = args.x + i * args.x_row + j * args.lanes;
      float* y = args.y + column + i * args.y_row + j * args.lanes;
      float most = x[0], sum = 0;
      for (int64_t c = 1; c < args.channels; ++c) most = std::max(most, x[at(c, args.x_block)]);
      for (int64_t c = 0; c < args.channels; ++c)
        sum += y[at(c, args.y_block)] = std::exp(x[at(c, args.x_block)] - most);
      for (int64_t c = 0; c < args.channels; ++c) y[at(c, args.y_block)] /= sum;
    }
  }
}

// Rows of a band of the hidden map, of a group's channels: moved to row `to`, or cleared.
void move_rows(const Pointwise& expand, float* y, const Group& group, int64_t begin, int64_t end,
               int64_t to) {
  for (int64_t b = group.block_begin; b < group.block_end; ++b) {
    float* block = y + b * expand.y_block;
    std::copy(block + begin * expand.y_row, block + end * expand.y_row, block + to * expand.y_row);
  }
}
void clear_rows(const Pointwise& expand, float* y, const Group& group, int64_t begin, int64_t end) {
  for (int64_t b = group.block_begin; b < group.block_end && begin < end; ++b) {
    float* block = y + b * expand.y_block;
    std::fill(block + begin * expand.y_row, block + end * expand.y_row, 0.0f);
  }
}

// Of the borders before pieces row_begin + 1 to row_end.
void save_rows(const SaveRows& args, const Part& part) {
  const auto blocks = static_cast<int64_t>(args.blocks.size());
  float* y = args.y + part.row_begin * (args.above + args.below) * blocks * args.floats;
  for (int64_t piece = part.row_begin + 1; piece <= part.row_end; ++piece) {
    const int64_t border = piece * args.rows / args.pieces;
    for (int64_t i = border - args.above; i < border + args.below; ++i) {
      for (const float* x : args.blocks) y = std::copy_n(x + i * args.x_row, args.floats, y);
    }
  }
}

// A piece of a unit: rows [begin, end) of what comes out.
struct Piece {
  int64_t number, begin, end;
};

// Rows [begin, end) of a group of the hidden map into y: those that are the piece's own from where they lie,
// those beside them from where they were saved.
void expand_rows(const Kernels& kernels, const Task& task, const Bands& bands, const Group& group,
                 const Piece& piece, int64_t begin, int64_t end, float* y) {
  const auto& expand = *std::get_if<Pointwise>(&task.parts.front().args);
  auto compute = [&](Pointwise args, const float* x, int64_t first, int64_t last) {
    args.x = x;
    args.y = y + (first - begin) * expand.y_row;
    kernels.pointwise(args, {group.block_begin, group.block_end, 0, last - first});
  };
  auto saved = [&](int64_t first, int64_t last, int64_t before,
                   int64_t border) {  // the border before that piece
    if (first >= last) return;
    const int64_t above = bands.unit.above(), each = above + bands.unit.below();
    Pointwise args = expand;
    args.x_row = task.saved.row;
    args.offsets = task.saved.offsets.data();
    const int64_t row = (before - 1) * each + first - (border - above);
    compute(args, task.saved.floats.data() + row * task.saved.row, first, last);
  };
  int64_t own_begin = begin, own_end = end;
  if (!task.saved.floats.empty()) {
    own_begin = std::clamp(piece.begin, begin, end), own_end = std::clamp(piece.end, begin, end);
    saved(begin, own_begin, piece.number, piece.begin);
    saved(own_end, end, piece.number + 1, piece.end);
  }
  if (own_begin < own_end) compute(expand, expand.x + own_begin * expand.x_row, own_begin, own_end);
}

// What rows [r0, r1) of a unit need of its hidden map, where `kept` says what is there of the rows before.
void fill_band(const Kernels& kernels, const Task& task, const Bands& bands, const Piece& piece,
               const Kept& kept, int64_t r0, int64_t r1, float* hidden) {
  const auto& expand = *std::get_if<Pointwise>(&task.parts.front().args);
  const int64_t stride = bands.unit.stride;
  for (const Group& group : bands.unit.groups) {
    const int64_t low = stride * r0 - group.above, high = stride * (r1 - 1) + group.below + 1;
    int64_t begin = low;  // of the rows that are new
    if (kept.end > kept.begin) {
      const int64_t kept_low = stride * kept.begin - group.above,
                    kept_high = stride * (kept.end - 1) + group.below + 1;
      if (kept_high > low) {
        move_rows(expand, hidden, group, low - kept_low, kept_high - kept_low, 0);
        begin = kept_high;
      }
    }
    const int64_t inside = std::clamp<int64_t>(begin, 0, bands.hidden_rows),
                  outside = std::clamp<int64_t>(high, inside, bands.hidden_rows);
    clear_rows(expand, hidden, group, begin - low, std::min(inside, high) - low);
    clear_rows(expand, hidden, group, std::max(outside, begin) - low, high - low);
    expand_rows(kernels, task, bands, group, piece, inside, outside, hidden + (inside - low) * expand.y_row);
  }
}

// `own`: floats from the first thread's bands to this one's, which may still hold what the piece before left
// there.
void compute_bands(const Kernels& kernels, const Task& task, const Bands& bands, const Piece& piece,
                   int64_t own, Kept& kept, int64_t run) {
  const Unit& unit = bands.unit;
  const Task& last = task.parts.back();
  const auto &expand = *std::get_if<Pointwise>(&task.parts.front().args),
             &project = *std::get_if<Pointwise>(&last.args);
  if (kept.task != &task || kept.run != run || kept.end != piece.begin) kept = {&task, run, 0, 0};
  const int64_t all = piece.end - piece.begin, count = (all + unit.band - 1) / unit.band;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t r0 = piece.begin + b * all / count, r1 = piece.begin + (b + 1) * all / count,
                  rows = r1 - r0;
    fill_band(kernels, task, bands, piece, kept, r0, r1, expand.y + own);
    kept.begin = r0, kept.end = r1;
    Pointwise narrow = project;
    narrow.x += own;
    if (task.parts.size() > 2) {
      if (const auto* pool = std::get_if<Pool>(&task.parts[1].args)) {
        Pool middle = *pool;
        middle.x += own, middle.y += own;
        middle.x_rows = 2 * rows;
        kernels.pool(middle, {0, task.parts[1].blocks, 0, rows});
      } else {
        Depthwise middle = *std::get_if<Depthwise>(&task.parts[1].args);
        middle.x += own + unit.above() * expand.y_row, middle.y += own;
        kernels.depthwise(middle, {0, task.parts[1].blocks, 0, rows});
      }
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
  const int64_t piece, picture, column;
  const int thread;
  Kept& kept;
  const int64_t run;
  const float* input;
  float *output, *features;

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
  void operator()(const SoftMaxPixels& args) const { soft_max(args, part, column); }
  void operator()(const Bands& args) const {
    compute_bands(kernels, task, args, {piece, part.row_begin, part.row_end}, thread * args.thread_floats,
                  kept, run);
  }
  void operator()(const SaveRows& args) const { save_rows(args, part); }
  void operator()(const TakeInput& args) const {
    take_input(args, part, input + picture * args.channels * args.rows * args.columns);
  }
  void operator()(const GiveOutput& args) const {
    float* to = args.features ? features : output;
    if (to)
      give_output(args, to + picture * static_cast<int64_t>(args.from.size()) * args.rows * args.columns);
  }
};

}  // namespace

void execute(const Kernels& kernels, const Task& task, int64_t piece, int64_t picture, int thread, Kept& kept,
             int64_t run, const Arrays& arrays) noexcept {
  const int64_t block = piece / task.row_parts, row = piece % task.row_parts;
  const Part part{block * task.blocks / task.block_parts, (block + 1) * task.blocks / task.block_parts,
                  row * task.rows / task.row_parts, (row + 1) * task.rows / task.row_parts};
  std::visit(Execution{kernels, task, part, piece, picture, picture * task.own_column, thread, kept, run,
                       arrays.input, arrays.output, arrays.features},
             task.args);
}

}  // namespace fewshift::engine
