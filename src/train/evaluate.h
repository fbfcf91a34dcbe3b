// How well a network does on a data set.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/loader.h"
#include "nn/network.h"

namespace fewshift {

struct Evaluation {
  double top1 = 0, top5 = 0;  // from 0 to 1
  double loss = 0;            // mean cross entropy
  int64_t images = 0;
  std::map<std::string, std::string> broken;  // pictures left out: name -> reason
};

struct EvaluateOptions {
  int batch = 100;
  int workers = 2;
  bool flip = false;  // the mean of the logits of each picture and its mirror image
  Preprocess preprocess;
};

// Switches the network to evaluation mode and back to what it was in.
Evaluation evaluate(Network& network, std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options);

// A batch's pictures as a tensor [n,3,S,S], channels_last, sharing the batch's memory.
torch::Tensor images_tensor(Batch& batch, int size);
torch::Tensor labels_tensor(Batch& batch);

}  // namespace fewshift
