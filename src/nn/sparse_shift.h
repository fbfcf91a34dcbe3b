// The sparse shift layer as a module.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

namespace fewshift {

// Displacements are (dy, dx) in px, [channels,2] float32; zero at first: see nn/displacements.h for starts.
struct SparseShiftImpl : torch::nn::Module {
  explicit SparseShiftImpl(int64_t channels, int64_t stride = 1);
  torch::Tensor forward(const torch::Tensor& x);  // [N,C,H,W] -> [N,C,ceil(H/stride),ceil(W/stride)]

  // The integer move of each channel, [C,2] int64, as the forward pass makes it.
  torch::Tensor shifts() const;

  // The L1 norm of the displacements, to be weighted by lambda and added to the loss ("All You Need is a Few
  // Shifts").
  torch::Tensor penalty() const;

  torch::Tensor displacement;  // parameter
  torch::Tensor start;         // buffer: the displacements that training began with
  int64_t stride;

  // Where defined, [C] float64, the backward pass adds to it, image by image, the square of what it would do
  // to the loss, to first order, if the channel were not shifted: (sum of dL/dy * (x - y))^2.
  torch::Tensor removal_cost;
};
TORCH_MODULE(SparseShift);

}  // namespace fewshift
