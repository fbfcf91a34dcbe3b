// The two walks over the images that a bottleneck's training step needs: forward and backward. The hidden
// activation lives in the nearest caches alone, some channels of some images at a time, and is computed again
// for the backward walk. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "kernels/kernels.h"
#include "ops/planes.h"

namespace fewshift::bottleneck {

// What a hidden channel's pixel (i,j) behind the spatial operator is: the sum over `taps` of weight * the
// pixel (stride * i + y, stride * j + x) before it.
struct Tap {
  int64_t y, x;
  float weight;
};
using Taps = std::vector<Tap>;

struct Shape {
  int64_t N, H, W;             // input maps
  int64_t channels, first;     // the map's channels; those from `first` on are read
  int64_t width, hidden, out;  // channels read, of the hidden activation, written
  int64_t stride;
  int64_t H_out, W_out;
};

// All [C][...] of float32 and contiguous; maps are [N,C,H,W], contiguous.
struct Work {
  Shape shape;
  std::vector<Taps> taps;                   // [hidden]: 1, or 4 of one stride
  std::vector<std::array<Tap, 4>> corners;  // [hidden], if displacements learn: S(k,l) at 2 k + l
  bool measures = false;                    // removal costs too
  std::vector<float> centre;                // [width], subtracted from x
  std::vector<float> expand, bias;          // [hidden][width], batch norm folded in, and [hidden]
  std::vector<float> project;               // [out][hidden]
  const float* x = nullptr;
};

// Mean and covariance (divided by the pixels) of the channels read, in double: [width], [width][width].
void input_moments(const Work& work, std::vector<double>& mean, std::vector<double>& covariance);

// y: [N,out,H_out,W_out]; the moments of each of its channels.
std::vector<Moments> forward(const Work& work, float* y);

struct Gradients {
  std::vector<double> project;  // [out][hidden]
  std::vector<double> expand;   // [hidden][width]: sum over pixels of dA * (x - centre)
  std::vector<double> sums;     // [hidden]: sum over pixels of dA
  std::vector<double> corners;  // [4][hidden]
  std::vector<double> removal;  // [hidden], if measured
};

// dy = a * dz + b * y + c, channel by channel ([out] each; y: [N,out,H_out,W_out], dz: with `first` channels
// before, which do not matter). dx: [N,width,H,W],
// without what goes through the batch's statistics.
Gradients backward(const Work& work, const float* dz, const float* y, const std::vector<float>& a,
                   const std::vector<float>& b, const std::vector<float>& c, float* dx);

// dx[n,i] = part[n,i] + bias[i] + sum over k of correction[i][k] * (x[n,k] - centre[k]) (+ dz[n,i]); part:
// [N,width,H,W], dx and dz: maps of all channels, those before `first` in dx are dz's.
void finish_gradient(const Work& work, const float* part, const std::vector<float>& correction,
                     const std::vector<float>& bias, const float* dz, bool residual, float* dx);

}  // namespace fewshift::bottleneck
