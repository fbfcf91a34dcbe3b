// What a resumed run needs, in one safetensors file: state.safetensors of a RUN.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "core/safetensors.h"
#include "train/run_files.h"
#include "train/run_progress.h"
#include "train/training_data.h"
#include "train/training_step.h"

namespace fewshift {

// By all processes together.
SafeTensors state_of(Learning& learning, const RunProgress& progress, const std::string& model,
                     const DataIdentity& data);

// The bytes of a run's state; none where it was ended before it had saved anything. Throws Error, which says
// how else to go on from its weights: the state is missing beside metrics or weights, or is empty.
std::string read_state(const RunFiles& files);

// From the bytes of a run's state. Returns what is to be said of its pictures, or nothing. Throws Error:
// kCorrupt naming the file, for another model's state, an altered one or one that is none; kInvalidArgument
// naming recipe.data, where the pictures are not those that the run began with.
std::string take_state(const std::string& bytes, const RunFiles& files, const Recipe& recipe,
                       const DataIdentity& data, Learning& learning, RunProgress& progress);

}  // namespace fewshift
