// How the network of a run begins: its shifts, another run's weights, a frozen body.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "nn/network.h"
#include "train/recipe.h"

namespace fewshift {

// The recipe's network. Throws Error (kInvalidArgument) where it has no place for the operator asked for.
Arch arch_of(const Recipe& recipe, int classes = 0);

// Its displacements as the recipe wants them, and the weights of recipe.init. Returns what was taken of
// those, in a line, or "". A resumed run gets both from its state. Throws Error naming --init or
// --shift-from.
std::string start_network(const Recipe& recipe, const std::vector<std::string>& class_names, bool resumed,
                          Network& network);

// While the body is frozen, only the last linear layer learns, and batch norm's statistics stand still.
// Switches the network to training.
void freeze_body(const Recipe& recipe, bool frozen, Network& network);

}  // namespace fewshift
