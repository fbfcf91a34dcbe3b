// What a resumed run needs, in one safetensors file: state.safetensors of a RUN.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "core/safetensors.h"
#include "train/run_progress.h"
#include "train/training_step.h"

namespace fewshift {

// By all processes together. data: data_fingerprint of the pictures.
SafeTensors state_of(Learning& learning, const RunProgress& progress, const std::string& model,
                     const std::string& data);

// Throws Error: kCorrupt naming `where`, for another model's state or one that is none; kInvalidArgument
// naming `data_option`, where the pictures are not those that the run began with.
void take_state(const SafeTensors& state, const std::string& model, const std::string& data,
                const std::string& where, const std::string& data_option, Learning& learning,
                RunProgress& progress);

}  // namespace fewshift
