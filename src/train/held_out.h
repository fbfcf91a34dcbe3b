// The pictures that a run was not trained on.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>

#include "data/dataset.h"
#include "model/info.h"
#include "train/recipe.h"

namespace fewshift {

// The part of train/ that `run` held out of recipe.data as its val. Throws Error, naming recipe.data: what
// open_training_data throws; it held out none; the pictures are not as they were.
std::shared_ptr<const Dataset> held_out(const std::string& run, Recipe recipe, const ModelInfo& info);

}  // namespace fewshift
