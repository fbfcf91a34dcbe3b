// FasterNet: 3x3 convolutions on a quarter of the channels, pointwise layers on all.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {

Arch fasternet_t0(const std::string& name, int classes) {
  const int units[] = {1, 2, 8, 2};
  Arch arch{name, 224, {}};
  int channels = 40;
  arch.add(ConvBn{3, channels, 4, 4, Activation::kNone, 1, 0});
  for (int stage = 0; stage < 4; ++stage) {
    if (stage > 0) {
      arch.add(ConvBn{channels, 2 * channels, 2, 2, Activation::kNone, 1, 0});
      channels *= 2;
    }
    for (int unit = 0; unit < units[stage]; ++unit) arch.add(PartialBlock{channels, 2 * channels});
  }
  arch.add(Classifier{channels, 0, classes, 0.0, Activation::kNone, 1280, Activation::kGelu, false});
  return arch;
}

}  // namespace fewshift
