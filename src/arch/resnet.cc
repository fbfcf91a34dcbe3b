// ResNet for 32 px: three stages of basic blocks.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {

Arch resnet(const std::string& name, int depth, int classes) {
  Arch arch{name, 32, {}};
  arch.add(ConvBn{3, 16, 3, 1, Activation::kRelu});
  int in = 16;
  for (int out : {16, 32, 64}) {
    for (int unit = 0; unit < (depth - 2) / 6; ++unit) {
      arch.add(BasicBlock{in, out, in == out ? 1 : 2});
      in = out;
    }
  }
  arch.add(Classifier{in, 0, classes});
  return arch;
}

}  // namespace fewshift
