// A moving average of a network's weights, often better than the weights themselves.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include "nn/network.h"

namespace fewshift {

// average = d * average + (1 - d) * network after step `step` (from 0), over weights and batch norm's
// statistics, with d = min(decay, (1 + step) / (10 + step)), so that the start is soon forgotten.
// Displacements are taken as they are: their average would be of no sparsity.
void update_average(const Network& network, double decay, int64_t step, Network& average);

}  // namespace fewshift
