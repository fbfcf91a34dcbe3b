// What a walk over a bottleneck's images needs to know before it starts: which hidden channels are made
// together, where they lie, weights as the kernels read them. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "kernels/kernels.h"
#include "ops/bottleneck_pass.h"
#include "ops/planes.h"

namespace fewshift::bottleneck {

constexpr int64_t kHiddenBytes = 256 * 1024;  // of hidden channels' planes, in the second cache
constexpr int64_t kNarrowBytes = 96 * 1024;   // of one narrow map's planes, beside them
constexpr int64_t kPixels = 1024;             // of a group of images: enough for long sums
// Parts of a batch, each with sums of its own, which threads take as they come; so many whatever the number
// of threads, for the same result. Later ones are smaller, so that threads end at about the same time.
constexpr int64_t kParts = 8;
// The first image of a part of N, or N behind the last one.
int64_t part_begin(int64_t part, int64_t N);

// Images of one part that are walked over together, at most: what lies in the caches.
int64_t images_together(const Shape& shape);

// 0, step, 2 step ...
std::vector<int32_t> strided(int64_t count, int64_t step);

// Maps of a thread, zero at first.
class Memory {
 public:
  explicit Memory(int64_t floats) : memory_(kept()) {
    if (static_cast<int64_t>(memory_.size()) < floats) memory_.resize(floats);
    std::fill_n(memory_.data(), floats, 0.0f);
  }
  float* take(int64_t floats) {
    float* const begin = memory_.data() + taken_;
    taken_ += round_up(floats, 16);
    return begin;
  }

 private:
  static AlignedFloats& kept() {
    thread_local AlignedFloats memory;
    return memory;
  }
  AlignedFloats& memory_;
  int64_t taken_ = 0;
};

// Hidden channels that are made together. Rows: channels rounded up to whole tiles, over all chunks.
struct Chunk {
  int64_t begin, count, row, rows, phase;
};

// All that does not depend on the images. Hidden channels are put in the order of the phase they read.
struct Plan {
  Plan(const Work& work, bool backward);

  Planes make_grid() const;
  // Of a phase.
  int64_t rows(int64_t phase) const { return (shape.H + shape.stride - 1 - phase / 2) / shape.stride; }
  int64_t columns(int64_t phase) const { return (shape.W + shape.stride - 1 - phase % 2) / shape.stride; }
  Pixels pixels(int64_t phase) const { return {rows(phase), columns(phase), shape.W, shape.stride}; }
  int64_t first_pixel(int64_t phase) const { return phase / 2 * shape.W + phase % 2; }
  // Of the hidden activation at a time.
  int64_t phases_held() const { return every_phase ? shape.phases() : 1; }
  Pixels out_pixels() const { return {shape.H_out, shape.W_out, shape.W_out}; }

  void divide(bool backward);
  int64_t phase_of(int64_t m) const { return direct ? w.taps[order[m]][0].phase : 0; }

  // From a channel's place in a chunk's maps to what a tap reads.
  int32_t offset(const Tap& tap) const {
    return static_cast<int32_t>((every_phase ? tap.phase * chunk * grid.wide_floats : 0) +
                                tap.y * grid.pitch + tap.x);
  }

  // What dots read of a narrow plane: that, or, for products of pairs, its vectors two in one.
  bool pairs() const { return w.operands == PlanarOperands::kPairs; }
  int64_t dots_floats() const {
    return pairs() ? round_up(grid.narrow_floats / 2 + grid.lanes, 16) : grid.narrow_floats;
  }

  const Work& w;
  const Shape shape;
  const Kernels& kernels;
  const int height;
  const bool direct;  // one pixel each: nothing stands between the hidden map and its readers
  const bool every_phase;
  const int64_t in_rows, out_rows;        // channels, rounded up to whole tiles
  const Planes grid;                      // of a phase, and of the output
  const bool y_in_place, dx_in_place;     // products write to the tensors
  std::vector<std::vector<float>> masks;  // [phase]
  std::vector<int64_t> order;             // [hidden] the channel that comes there
  std::vector<Chunk> chunks;
  int64_t chunk = 0, hidden_rows = 0;  // rows of the largest, and of all
};

// Weights as the kernels read them, chunk by chunk, and offsets.
struct Packed {
  Packed(const Plan& plan, bool backward);
  AlignedFloats expand, expand_back, project, project_back;
  std::vector<float> bias;
  std::vector<int32_t> still, moved, back;  // of hidden channels in their chunk; `back`: against the shift
  std::vector<int32_t> sampled, inputs, outputs;
  std::vector<int32_t> y_places, dx_places;  // of vectors, in the tensors
};

}  // namespace fewshift::bottleneck
