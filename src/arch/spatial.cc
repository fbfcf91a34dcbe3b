// SPDX-License-Identifier: Apache-2.0
#include "arch/spatial.h"

#include "arch/arch.h"
#include "core/error.h"

namespace fewshift {
namespace {

std::vector<SpatialOperator>& table() {
  static std::vector<SpatialOperator> operators = {
      {"ssl", "sparse shift", "shift", "learned shifts by whole pixels, few of them",
       Displacements::kLearned},
      {"asl", "active shift", "shift", "learned shifts by fractions of pixels, interpolated",
       Displacements::kLearned, 0, 4},
      {"gsl", "sparse shift", "shift", "fixed shifts, the channels in nine equal groups",
       Displacements::kGrid},
      {"random", "sparse shift", "shift", "fixed shifts at random, of a given sparsity",
       Displacements::kRandom},
      {"depthwise", "depthwise 3x3", "depthwise", "3x3 depthwise convolution", Displacements::kNone, 9, 9},
  };
  return operators;
}

}  // namespace

const std::vector<SpatialOperator>& spatial_operators() {
  return table();
}

const SpatialOperator& spatial_operator(const std::string& name) {
  std::string names;
  for (const SpatialOperator& spatial : table()) {
    if (spatial.name == name) return spatial;
    names += (names.empty() ? "" : ", ") + spatial.name;
  }
  throw Error(ErrorCode::kInvalidArgument, "--shift", "\"" + name + "\" is none of " + names);
}

void add_spatial_operator(const SpatialOperator& added) {
  for (const SpatialOperator& spatial : table()) {
    if (spatial.name == added.name) {
      throw Error(ErrorCode::kInvalidArgument, "spatial operator " + added.name, "is there already");
    }
  }
  table().push_back(added);
}

bool takes_shift(const Arch& arch) {
  for (const NamedUnit& named : arch.units) {
    const auto* unit = std::get_if<InvertedBottleneck>(&named.unit);
    if (unit && unit->spatial != Spatial::kPool) return true;
  }
  return false;
}

}  // namespace fewshift
