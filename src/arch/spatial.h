// The spatial operators that `--shift` chooses among, and what each costs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace fewshift {

// How the displacements of an operator come about.
enum class Displacements {
  kNone,     // it has none
  kLearned,  // from a start, by the loss
  kGrid,     // fixed: the channels in equal groups over the 3x3 neighbourhood
  kRandom,   // fixed: at random, at a given sparsity
};

struct SpatialOperator {
  std::string name;   // what --shift says: "ssl"
  std::string kind;   // what inspect says: "sparse shift"
  std::string layer;  // its name in a unit, and so of its parameters: "shift"
  std::string help;   // one line
  Displacements displacements = Displacements::kNone;
  int64_t channel_params = 0;  // parameters of a channel, displacements apart
  int64_t pixel_madds = 0;     // multiply-adds of a channel at a pixel of the output
};

// In the order in which help lists them.
const std::vector<SpatialOperator>& spatial_operators();
// Throws Error (kInvalidArgument), listing those there are.
const SpatialOperator& spatial_operator(const std::string& name);
// Another one, from a program of one's own: see docs/adding_a_layer.md. Before anything is trained or loaded.
void add_spatial_operator(const SpatialOperator& added);

}  // namespace fewshift
