// Beginning from another run's weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "nn/network.h"

namespace fewshift {

// The run or safetensors file `from`, read. Throws Error naming --init and what reading throws.
SafeTensors read_initial(const std::filesystem::path& from);

// Takes from `file` every tensor of the network's name, shape and type; the last linear layer only where the
// file names the same classes; displacements only with `shifts`, which are then the start too. Returns one
// line that says what was taken and what was made anew; `from` names the file in it. Throws Error:
// kInvalidArgument where less than half fits, or, with `shifts`, where a shift layer finds no
// displacements.
std::string take_initial(const SafeTensors& file, const std::string& from,
                         const std::vector<std::string>& class_names, bool shifts, Network& network);

}  // namespace fewshift
