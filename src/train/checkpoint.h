// A trained network in one safetensors file, and everything needed to use it in its metadata.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "model/evaluate.h"
#include "nn/network.h"

namespace fewshift {

struct TrainedModel {
  ModelInfo info;
  Network network{nullptr};
  std::filesystem::path path;  // of the file it came from
};

// float32, float64 and int64 tensors of any layout.
RawTensor to_raw(const torch::Tensor& tensor);
torch::Tensor from_raw(const RawTensor& raw);

// Parameters and buffers, named as in the network, with `prefix`; and back. from: throws Error (kCorrupt),
// naming the first tensor that is missing, too many, or of another shape.
void put_network(const Network& network, const std::string& prefix, SafeTensors& file);
void take_network(const SafeTensors& file, const std::string& prefix, const std::string& where,
                  Network& network);

void save_model(const std::filesystem::path& path, const Network& network, const ModelInfo& info);

// From a checkpoint or a RUN folder (checkpoint_path), in evaluation mode. Throws Error, naming the file and
// the field or tensor.
TrainedModel load_model(const std::filesystem::path& path);

// The network as it is now, whatever mode it is in; it shares the weights.
Logits logits_of(const Network& network, int size);
TrainedClassifier classifier_of(const TrainedModel& model);

}  // namespace fewshift
