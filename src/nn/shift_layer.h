// A layer that moves its channels: sparse shift (whole pixels) or active shift (interpolated).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "nn/spatial.h"

namespace fewshift {

// Displacements are (dy, dx) in px, [channels,2] float32; zero at first: see nn/displacements.h for starts.
struct ShiftLayerImpl : SpatialModule {
  ShiftLayerImpl(int64_t channels, int64_t stride, bool interpolated = false);
  torch::Tensor forward(const torch::Tensor& x) override;

  // The integer move of each channel, [C,2] int64: what the forward pass makes, or, interpolated, comes near
  // to.
  torch::Tensor shifts() const;

  // The L1 norm of the displacements, to be weighted by lambda and added to the loss ("All You Need is a Few
  // Shifts").
  torch::Tensor penalty() const;

  torch::Tensor displacement;  // parameter
  torch::Tensor start;         // buffer: the displacements that training began with
  int64_t stride;
  bool interpolated;

  // Where defined, [C] float64, the backward pass adds to it, image by image, the square of what it would do
  // to the loss, to first order, if the channel were not shifted: (sum of dL/dy * (x - y))^2.
  torch::Tensor removal_cost;
};
TORCH_MODULE(ShiftLayer);

}  // namespace fewshift
