// ShiftResNet: ResNet's plan for 32 px with a shift unit in the place of each pair of 3x3 convolutions.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {

Arch shiftresnet(const std::string& name, int depth, int expansion, int classes) {
  Arch arch{name, 32, {}};
  arch.add(ConvBn{3, 16, 3, 1, Activation::kRelu});
  int in = 16;
  for (int out : {16, 32, 64}) {
    for (int unit = 0; unit < (depth - 2) / 6; ++unit) {
      const bool same = in == out;
      arch.add(InvertedBottleneck{in, 0, expansion * out, out,
                                  same ? Spatial::kShift : Spatial::kStridedShift,
                                  same ? Shortcut::kIdentity : Shortcut::kProjection});
      in = out;
    }
  }
  arch.add(Classifier{in, 0, classes});
  return arch;
}

}  // namespace fewshift
