// One thread's walk over groups of a bottleneck's images. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/bottleneck_plan.h"

namespace fewshift::bottleneck {

// Sums of a part of the batch.
struct Sums {
  std::vector<float> project, expand;          // [hidden][out_rows], [hidden][in_rows]
  std::vector<double> sums, corners, removal;  // [hidden], [corner_count][hidden], [hidden]
};

// One thread's walk over groups of images.
class Walk {
 public:
  Walk(const Plan& plan, const Packed& packed, bool backward);

  void start(int64_t first, int64_t end);
  // With a residual dx begins as dz.
  void start_backward(const float* dz, const float* y, const OutputGradient& dy, bool residual, float* dx);

  // y = project * what the spatial operator gives; then to the tensor.
  void forward(float* y);

  // Adds to the sums, and writes dx and, if there is a scale, its gradient ([N][hidden]).
  void backward(Sums& sums, float* dscale, float* dx);

  // The mean of each image's hidden channels behind the spatial operator ([N][hidden]); and the same from its
  // gradient.
  void pool(float* means);
  void unpool(const float* dmeans, Sums& sums, float* dx);

 private:
  static int64_t floats(const Plan& p, bool backward);

  // For products of bfloat16s: what they read, so many floats.
  void round(float* values, int64_t count) const {
    if (p_.w.bf16()) p_.kernels.planar_round(values, count);
  }
  // For products of pairs: planes as dots read them.
  void pair(const float* planes, int64_t rows, float* to) const;
  float* narrow(float* planes, int64_t phase, int64_t c) const;
  float* input(int64_t phase, int64_t c) const { return narrow(x_, phase, c); }
  // The hidden activation in a phase; whichever is there, where only one is.
  float* hidden(int64_t phase) const { return a_ + (p_.every_phase ? phase * p_.chunk * g_.wide_floats : 0); }

  // relu(expand)
  void produce(const Chunk& chunk);
  // What its readers see, if sampled.
  void sample(const Chunk& chunk);
  // The hidden activation's copy in memory.
  PlanarCopy kept(const Chunk& chunk) const;
  const Taps& taps(const Chunk& chunk, int64_t k) const { return p_.w.taps[p_.order[chunk.begin + k]]; }

  // A product's inputs: the chunk's channels behind the spatial operator.
  PlanarProduct reader(const Chunk& chunk) const;

  // dh = project' * dy
  PlanarProduct gradient_product(const Chunk& chunk) const;

  // dh, zero where the pixel it comes from is.
  void shifted_gradient(const Chunk& chunk, Sums& sums);

  // What the spatial operator learns from: correlations of dh with the hidden activation at its corners; also
  // the scale's gradient. Gated: dh becomes zero where the shifted activation is.
  void correlate(const Chunk& chunk, bool gated, Sums& sums, float* dscale);

  // From dh, the gradient of the readers, all the way down.
  void descend_from_readers(const Chunk& chunk, Sums& sums, float* dscale);
  void write_dx(float* dx);
  // The sums that products left, lane by lane, of the gradient before the ReLU.
  void take_lanes(std::vector<double>& sums);

  // f(first vector, vectors, image in the group) for each image; for all at once if there is no scale and
  // `together`.
  template <class F>
  void each_image(bool together, F f) const {
    if (together && !p_.w.scale) return f(0, vectors_, 0);
    for (int64_t n = 0; n < images_; ++n) f(n * g_.image_vectors, g_.image_vectors, n);
  }
  float scale(const Chunk& chunk, int64_t k, int64_t n) const {
    return p_.w.scale ? p_.w.scale[(first_ + n) * s_.hidden + p_.order[chunk.begin + k]] : 1.0f;
  }
  // 1 at the output's pixels, in a wide plane.
  float* ones();

  // da: what of dh comes from a phase's hidden activation, zero where that is.
  void unsample(const Chunk& chunk, int64_t phase, Sums& sums);

  // From the gradient before the ReLU to that of the expand's weights and of x.
  void descend(const Chunk& chunk, int64_t phase, const float* gradient, const int32_t* offsets, Sums& sums);

  const Plan& p_;
  const Packed& packed_;
  const Shape& s_;
  const Planes& g_;
  Memory memory_;
  // Of all channels: x less its centre, y or its gradient, dx. Of a chunk's: the hidden activation, what is
  // sampled from it, the gradients of that and of the activation. Sums of the latter, lane by lane.
  float *x_ = nullptr, *y_ = nullptr, *dx_ = nullptr, *a_ = nullptr, *z_ = nullptr, *dh_ = nullptr,
        *da_ = nullptr, *lanes_ = nullptr, *ones_ = nullptr;
  float *x_dots_ = nullptr, *y_dots_ = nullptr;
  bool ones_filled_ = false;
  float* dx_place_ = nullptr;  // dx_, or the tensor
  bool written_[4] = {};
  int64_t first_ = 0, images_ = 0, vectors_ = 0;
};

}  // namespace fewshift::bottleneck
