// The two walks over the images that a bottleneck's training step needs: forward and backward. The hidden
// activation lives in the nearest caches alone, some channels of some images at a time, and is computed again
// for the backward walk. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "kernels/planar.h"
#include "ops/planes.h"

namespace fewshift::bottleneck {

// A stride of 2 divides a map into four, by the parity of rows and columns; each is a map of its own, behind
// which everything goes by single pixels. A hidden channel's pixel (i,j) behind the spatial operator is the
// sum over its taps of weight * the pixel (i + y, j + x) of map `phase`.
struct Tap {
  int64_t phase, y, x;  // phase: 2 (row % 2) + column % 2; 0 with stride 1
  float weight;
};
using Taps = std::array<Tap, 9>;

struct Shape {
  int64_t N, H, W;             // input maps
  int64_t channels, first;     // the map's channels; those from `first` on are read
  int64_t width, hidden, out;  // channels read, of the hidden activation, written
  int64_t stride;
  int64_t H_out, W_out;
  int64_t phases() const { return stride * stride; }
};

// All [C][...] of float32 and contiguous; maps are [N,C,H,W], contiguous.
struct Work {
  Shape shape;
  int tap_count = 1;       // 1, 4 or 9
  std::vector<Taps> taps;  // [hidden], the first tap_count of each
  // If displacements learn, S(k,l) at 2 k + l; if the taps' weights do, the taps: what the gradient is wanted
  // at.
  int corner_count = 0;             // 0, 4 or 9
  std::vector<Taps> corners;        // [hidden]
  bool measures = false;            // removal costs too
  std::vector<float> centre;        // [width], subtracted from x
  std::vector<float> expand, bias;  // [hidden][width], batch norm folded in, and [hidden]
  std::vector<float> project;       // [out][hidden]
  const float* scale = nullptr;     // [N][hidden], or nothing: factors of what the project reads
  const float* x = nullptr;
  void* kept = nullptr;  // what `forward` leaves for `backward`: kept_values(*this) of float or bfloat16
  bool keeps_bf16 = false;
  PlanarOperands operands = PlanarOperands::kFloat;
  bool bf16() const { return operands != PlanarOperands::kFloat; }
};

int64_t kept_values(const Work& work);

// Mean and covariance (divided by the pixels) of the channels read, in double: [width], [width][width].
void input_moments(const Work& work, std::vector<double>& mean, std::vector<double>& covariance);

// y: [N,out,H_out,W_out]; the moments of each of its channels.
std::vector<Moments> forward(const Work& work, float* y);

struct Gradients {
  std::vector<float> project;   // [out][hidden]
  std::vector<double> expand;   // [hidden][width]: sum over pixels of dA * (x - centre)
  std::vector<double> sums;     // [hidden]: sum over pixels of dA
  std::vector<double> corners;  // [corner_count][hidden]: sum of the readers' gradient * the corner's pixel
  std::vector<double> removal;  // [hidden], if measured
  std::vector<float> scale;     // [N][hidden], if there is one
};

// dy = a * dz + b * (y - centre) + c, channel by channel ([out] each; y: [N,out,H_out,W_out], dz: with
// `first` channels before, which do not matter). Writes dx, a map as x, in the channels read, without what
// goes through the batch's statistics; with a residual, dz included.
struct OutputGradient {
  std::vector<float> a, b, centre, c;
};
Gradients backward(const Work& work, const float* dz, const float* y, const OutputGradient& dy, bool residual,
                   float* dx);

// The mean of each image's hidden channels behind the spatial operator, [N][hidden]; and the sums and dx from
// their gradient.
void pool(const Work& work, float* means);
Gradients unpool(const Work& work, const float* dmeans, float* dx);

// dx[n,i] += correction[i][width] + sum over k of correction[i][k] * (x[n,k] - centre[k]) in the channels
// read; those before become dz's, or zero. correction: [width][width + 1]; dx and dz: maps as x.
void finish_gradient(const Work& work, const std::vector<float>& correction, const float* dz, float* dx);

}  // namespace fewshift::bottleneck
