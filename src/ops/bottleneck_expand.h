// What the autograd functions of a bottleneck share: the expand with its batch norm, ReLU and spatial
// operator, as the walks need it, and the gradients that go through it. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "ops/bottleneck.h"
#include "ops/bottleneck_algebra.h"
#include "ops/bottleneck_pass.h"

namespace fewshift::bottleneck {

inline at::Tensor wide(const at::Tensor& t) {
  return t.detach().to(at::kDouble).contiguous();
}
inline std::vector<float> floats(const at::Tensor& t) {
  const at::Tensor f = t.to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}
inline at::Tensor floats(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kFloat).view(shape);
}
inline at::Tensor doubles(const std::vector<double>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kDouble).view(shape);
}

Shape shape_of(const Bottleneck& unit);
void check(const Bottleneck& unit);
// The displacement or the depthwise weight, or undefined.
inline const at::Tensor& spatial_of(const Bottleneck& unit) {
  return unit.depthwise.defined() ? unit.depthwise : unit.displacement;
}

struct Expand : torch::CustomClassHolder {
  Work work;
  Statistics statistics;
  std::vector<double> off;       // [width]: what the walks subtract from x, a float, less its mean
  at::Tensor mean, variance, r;  // of the expand: [hidden] double; 1 / sigma
  double pixels = 0;             // behind mean and variance
};

// Measures x (contiguous) or takes the running statistics; fills the work, but for what is not the expand's.
void start(const Bottleneck& unit, const at::Tensor& x, const at::Tensor& expand, const at::Tensor& gamma,
           const at::Tensor& beta, const at::Tensor& spatial, Expand& e);

struct ExpandTensors {
  at::Tensor weight, gamma, beta, spatial;
};
// From the sums of a walk; dx, if wanted, gets what goes through the statistics, and dz (or zeros) in the
// channels that are not read.
ExpandTensors finish(Expand& e, const Gradients& g, const at::Tensor& weight, const at::Tensor& gamma,
                     const at::Tensor& spatial, const float* dz, float* dx);

}  // namespace fewshift::bottleneck
