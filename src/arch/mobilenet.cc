// MobileNetV2 and MobileNetV4-Conv-Small, both of universal inverted bottlenecks.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "arch/families.h"

namespace fewshift {
namespace {

// The nearest multiple of 8, at least 8, and not below nine tenths of it, as the papers' code rounds widths.
int round_to_8(double channels) {
  const int rounded = std::max(8, static_cast<int>(channels + 4) / 8 * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

}  // namespace

Arch mobilenet_v2(const std::string& name, double width, bool small_input, int classes) {
  struct Stage {
    int expansion, out, units, stride;
  };
  const Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, small_input ? 1 : 2},
                          {6, 32, 3, 2}, {6, 64, 4, 2},
                          {6, 96, 3, 1}, {6, 160, 3, 2},
                          {6, 320, 1, 1}};
  Arch arch{name, small_input ? 32 : 224, {}};
  int in = round_to_8(32 * width);
  arch.add(ConvBn{3, in, 3, small_input ? 1 : 2, Activation::kRelu6});
  for (const Stage& stage : stages) {
    const int out = round_to_8(stage.out * width);
    for (int unit = 0; unit < stage.units; ++unit) {
      arch.add(UniversalBottleneck{in, stage.expansion * in, out, 0, 3, unit == 0 ? stage.stride : 1,
                                   Activation::kRelu6});
      in = out;
    }
  }
  arch.add(Classifier{in, round_to_8(1280 * std::max(1.0, width)), classes, 0.2, Activation::kRelu6});
  return arch;
}

Arch mobilenetv4_conv_small(const std::string& name, bool small_input, int classes) {
  struct Row {
    int start_kernel, kernel, stride, expansion, out, units;
  };
  const Row rows[] = {{5, 5, 2, 3, 96, 1},  {0, 3, 1, 2, 96, 4},  {3, 0, 1, 4, 96, 1},  {3, 3, 2, 6, 128, 1},
                      {5, 5, 1, 4, 128, 1}, {0, 5, 1, 4, 128, 1}, {0, 5, 1, 3, 128, 1}, {0, 3, 1, 4, 128, 2}};
  const auto relu = Activation::kRelu;
  const int stride = small_input ? 1 : 2;
  Arch arch{name, small_input ? 32 : 224, {}};
  arch.add(ConvBn{3, 32, 3, stride, relu});
  arch.add(ConvBn{32, 32, 3, stride, relu});
  arch.add(ConvBn{32, 32, 1, 1, relu});
  arch.add(ConvBn{32, 96, 3, 2, relu});
  arch.add(ConvBn{96, 64, 1, 1, relu});
  int in = 64;
  for (const Row& row : rows) {
    for (int unit = 0; unit < row.units; ++unit) {
      arch.add(UniversalBottleneck{in, row.expansion * in, row.out, row.start_kernel, row.kernel, row.stride,
                                   relu});
      in = row.out;
    }
  }
  arch.add(Classifier{in, 960, classes, 0.2, relu, 1280});
  return arch;
}

}  // namespace fewshift
