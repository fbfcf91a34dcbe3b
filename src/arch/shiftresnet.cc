// ShiftResNet: ResNet's plan for 32 px with a shift unit in the place of each pair of 3x3 convolutions.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {

Arch shiftresnet(const std::string& name, int depth, int expansion, int classes) {
  Arch arch{name, 32, {{"stem", ConvBn{3, 16, 3, 1, true}}}};
  const int units_a_stage = (depth - 2) / 6;
  int in = 16;
  for (int out : {16, 32, 64}) {
    for (int unit = 0; unit < units_a_stage; ++unit) {
      const bool same = in == out;
      arch.units.push_back(
          {"units." + std::to_string(arch.units.size() - 1),
           InvertedBottleneck{in, 0, expansion * out, out, same ? Spatial::kShift : Spatial::kStridedShift,
                              same ? Shortcut::kIdentity : Shortcut::kProjection}});
      in = out;
    }
  }
  arch.units.push_back({"classifier", Classifier{in, 0, classes, 0.0}});
  return arch;
}

}  // namespace fewshift
