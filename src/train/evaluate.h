// How well a network does on a data set, and a batch's pictures as LibTorch's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <memory>

#include "data/loader.h"
#include "model/evaluate.h"
#include "model/predictions.h"
#include "nn/network.h"
#include "train/world.h"

namespace fewshift {

// Switches the network to evaluation mode and back to what it was in. `some` gets the predictions of at most
// 5000 pictures, evenly from all. Each process looks at its share of the pictures, and all have the result,
// but for `broken`, which is of this one's.
Evaluation evaluate_network(Network& network, const Preprocess& preprocess,
                            std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options,
                            World& world, Predictions& some);

// A batch's pictures as a tensor [n,3,S,S], channels_last, sharing the batch's memory.
torch::Tensor images_tensor(Batch& batch, int size);
torch::Tensor labels_tensor(Batch& batch);

}  // namespace fewshift
