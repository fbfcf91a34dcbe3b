// Dropout that does the same however a batch is divided among processes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

namespace fewshift {

// From now on, this process's pictures are those from `first` on of so many in the batch. Default: 0 and 0,
// all are here.
void set_dropout_place(int64_t first, int64_t pictures);

// x: [N,C]. In training, draws for the whole batch from LibTorch's generator, which is to be seeded alike
// everywhere, and uses this process's rows; else x as it is.
torch::Tensor drop(const torch::nn::DropoutImpl& dropout, const torch::Tensor& x);

}  // namespace fewshift
