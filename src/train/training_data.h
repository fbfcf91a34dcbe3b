// The pictures of a run, as its recipe wants them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <string>

#include "data/loader.h"
#include "data/open.h"
#include "train/recipe.h"
#include "train/world.h"

namespace fewshift {

// At `size` px.
Preprocess preprocess_of(const Recipe& recipe, int size);

// Throws Error naming the folder or option: what open_data throws; no train/, or one of less than two
// pictures; early stopping without val.
Data open_training_data(const Recipe& recipe, const Preprocess& preprocess, const World& world = {});

// For this process's share of every batch.
LoaderOptions loader_options(const Recipe& recipe, const Preprocess& preprocess, const World& world = {});

// What each class counts in the loss, [classes], 1 on average over the pictures; undefined: all alike.
torch::Tensor class_weights(const Recipe& recipe, const Data& data);

// In a line: the format, classes and pictures found in `name`.
std::string describe_data(const std::string& name, const Data& data);

// Classes and labels in their order: what must not change under a run.
std::string data_fingerprint(const Data& data);

// What the pictures of a run are, as its state keeps it.
struct DataIdentity {
  std::string labels;        // data_fingerprint
  std::string sizes, times;  // of their files (Contents)
  std::string folder;        // where they lie: times say nothing of a copy
};
DataIdentity identity_of(const Recipe& recipe, const Data& data);

// The pictures' names in their order: what processes that train together must share besides.
std::string names_fingerprint(const Data& data);

}  // namespace fewshift
