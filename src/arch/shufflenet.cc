// ShuffleNetV2: half of the channels pass, the others are mixed, and all are interleaved.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {

Arch shufflenet_v2(const std::string& name, const std::vector<int>& channels, bool small_input, int classes) {
  const int units[] = {4, 8, 4};
  Arch arch{name, small_input ? 32 : 224, {}};
  int in = 24;
  arch.add(ConvBn{3, in, 3, small_input ? 1 : 2, Activation::kRelu});
  if (!small_input) arch.add(MaxPool{3, 2});
  for (int stage = 0; stage < 3; ++stage) {
    for (int unit = 0; unit < units[stage]; ++unit) {
      arch.add(ShuffleUnit{in, channels[stage], unit == 0 ? 2 : 1});
      in = channels[stage];
    }
  }
  arch.add(Classifier{in, channels[3], classes});
  return arch;
}

}  // namespace fewshift
