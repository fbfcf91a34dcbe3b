// Beginning from another run's weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/network.h"

namespace fewshift {

// Takes from the run or safetensors file `from` every tensor of the network's name, shape and type; the last
// linear layer only where the file names the same classes; displacements only with `shifts`, which are then
// the start too. Returns one line that says what was taken and what was made anew. Throws Error: what reading
// throws; kInvalidArgument where less than half fits, or, with `shifts`, where a shift layer finds no
// displacements.
std::string take_initial(const std::filesystem::path& from, const std::vector<std::string>& class_names,
                         bool shifts, Network& network);

// The spatial operator that the run or file `from` names. Throws what reading throws.
std::string initial_shift(const std::filesystem::path& from);

}  // namespace fewshift
