// SPDX-License-Identifier: Apache-2.0
#include "train/network_start.h"

#include <algorithm>

#include "arch/registry.h"
#include "arch/spatial.h"
#include "core/error.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/initial.h"

namespace fewshift {
namespace {

// Of each shift layer.
std::vector<double> random_sparsity(const Recipe& recipe, bool resumed, const Network& network) {
  std::vector<double> shares(network->shifts().size(), std::max(0.0, recipe.sparsity));
  if (recipe.shift_from.empty() || resumed) return shares;  // a resumed run has its shifts in its state
  try {
    shares = layer_sparsity(load_model(recipe.shift_from).network);
  } catch (const Error& error) {
    throw Error(error.code(), "--shift-from", error.what());
  }
  if (shares.size() != network->shifts().size()) {
    throw Error(ErrorCode::kInvalidArgument, "--shift-from " + recipe.shift_from,
                "has " + std::to_string(shares.size()) + " shift layers, " + recipe.model + " has " +
                    std::to_string(network->shifts().size()));
  }
  return shares;
}

void start_shifts(const Recipe& recipe, bool resumed, Network& network) {
  switch (spatial_operator(recipe.shift).displacements) {
    case Displacements::kNone:
      return;
    case Displacements::kLearned:
      return start_displacements(network, recipe.start, recipe.reach, static_cast<uint64_t>(recipe.seed));
    case Displacements::kGrid:
      return fix_grid_shifts(network);
    case Displacements::kRandom:
      return fix_random_shifts(network, random_sparsity(recipe, resumed, network),
                               static_cast<uint64_t>(recipe.seed));
  }
}

std::string begin_from_another(const Recipe& recipe, const std::vector<std::string>& class_names,
                               Network& network) {
  const Displacements own = spatial_operator(recipe.shift).displacements;
  const SafeTensors file = read_initial(recipe.init);
  const auto other = file.metadata.find("shift");
  const bool same = other != file.metadata.end() && other->second == recipe.shift;
  const bool learned = own == Displacements::kLearned;
  // Random shifts go on from random ones; what is a grid, or random in the place of something else, is made
  // anew.
  const bool shifts = recipe.shift_init != "new" && (learned || (own == Displacements::kRandom && same));
  std::string words = take_initial(file, recipe.init, class_names, shifts, network);
  if (learned && shifts && recipe.shift_init == "keep" && !network->shifts().empty()) {
    words += "; its shifts stay as they are";
    for (const NamedShift& named : network->shifts()) named.layer->displacement.requires_grad_(false);
  }
  return words;
}

}  // namespace

Arch arch_of(const Recipe& recipe, int classes) {
  Arch arch = make_arch(recipe.model, classes, recipe.shift);
  if (takes_shift(arch)) return arch;
  const std::string none = recipe.model + " has no place for a spatial operator";
  auto refuse = [&](bool given, const std::string& option) {
    if (given) throw Error(ErrorCode::kInvalidArgument, option, none);
  };
  const Recipe usual;
  refuse(recipe.shift != usual.shift, "--shift " + recipe.shift);
  refuse(recipe.penalty != usual.penalty, "--shift-penalty");
  refuse(recipe.sparsity != usual.sparsity && recipe.sparsity >= 0, "--shift-sparsity");
  return arch;
}

std::string start_network(const Recipe& recipe, const std::vector<std::string>& class_names, bool resumed,
                          Network& network) {
  start_shifts(recipe, resumed, network);
  return recipe.init.empty() || resumed ? "" : begin_from_another(recipe, class_names, network);
}

void freeze_body(const Recipe& recipe, bool frozen, Network& network) {
  const bool learned = spatial_operator(recipe.shift).displacements == Displacements::kLearned;
  network->train(!frozen);
  for (const auto& item : network->named_modules()) {
    if (item.key() == "classifier.dropout") item.value()->train();
  }
  for (const auto& item : network->named_parameters()) {
    const bool last = item.key().starts_with("classifier.linear.");
    if (!item.key().ends_with(".displacement"))
      item.value().requires_grad_(last || !frozen);
    else if (frozen && learned)
      item.value().requires_grad_(false);  // else the learner decides
  }
}

}  // namespace fewshift
