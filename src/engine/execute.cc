// SPDX-License-Identifier: Apache-2.0
#include "engine/execute.h"

#include <algorithm>

namespace fewshift::engine {
namespace {

// y of a picture's own column, if it goes into a tail.
template <class Args>
Args in_column(const Args& args, int64_t floats) {
  Args own = args;
  own.y += floats;
  if constexpr (std::is_same_v<Args, Pointwise>) {
    if (args.residual == args.y) own.residual = own.y;
  }
  if constexpr (std::is_same_v<Args, Unary> || std::is_same_v<Args, Affine>) {
    if (args.x == args.y) own.x = own.y;
  }
  if constexpr (std::is_same_v<Args, Binary>) {
    if (args.a == args.y) own.a = own.y;
  }
  return own;
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

struct Execution {
  const Kernels& kernels;
  const Part part;
  const int64_t picture, column;
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
  void operator()(const TakeInput& args) const {
    take_input(args, part, input + picture * args.channels * args.rows * args.columns);
  }
  void operator()(const GiveOutput& args) const {
    give_output(args, output + picture * static_cast<int64_t>(args.from.size()) * args.rows * args.columns);
  }
};

}  // namespace

void execute(const Kernels& kernels, const Task& task, int64_t piece, int64_t picture, const float* input,
             float* output) noexcept {
  const int64_t block = piece / task.row_parts, row = piece % task.row_parts;
  const Part part{block * task.blocks / task.block_parts, (block + 1) * task.blocks / task.block_parts,
                  row * task.rows / task.row_parts, (row + 1) * task.rows / task.row_parts};
  std::visit(Execution{kernels, part, picture, picture * task.own_column, input, output}, task.args);
}

}  // namespace fewshift::engine
