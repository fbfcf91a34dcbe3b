// The sparse shift layer as a module.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

namespace fewshift {

// Holds `displacement`, [channels,2] float32: (dy, dx) in px. Zero at first: see nn/displacements.h for starts.
struct SparseShiftImpl : torch::nn::Module {
  explicit SparseShiftImpl(int64_t channels, int64_t stride = 1);
  torch::Tensor forward(const torch::Tensor& x);  // [N,C,H,W] -> [N,C,ceil(H/stride),ceil(W/stride)]

  // The integer move of each channel, [C,2] int64, as the forward pass makes it.
  torch::Tensor shifts() const;

  torch::Tensor displacement;
  int64_t stride;
};
TORCH_MODULE(SparseShift);

}  // namespace fewshift
