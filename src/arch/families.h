// The families behind the registry, one file each.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "arch/arch.h"

namespace fewshift {

struct FeNetOptions {
  double width = 1.0;
  int head = 1536;             // channels of the last pointwise layer
  bool squeeze = false;        // squeeze-and-excitation of reduction 8 in every unit
  bool small_input = false;    // the variant for 32 px: neither the stem nor the first IB-Pool downsamples
  bool expand_output = false;  // as the authors' released code: hidden = t * output channels
};

// FE-Net ("All You Need is a Few Shifts", CVPR 2019, table 1).
Arch fenet(const std::string& name, const FeNetOptions& options, int classes);

// ResNet for 32 px ("Deep Residual Learning for Image Recognition", CVPR 2016) of depth 6n + 2, shortcuts
// without parameters.
Arch resnet(const std::string& name, int depth, int classes);

// MobileNetV2 ("MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018). small_input, here and
// below: for 32 px, the first two layers that halve the map do not.
Arch mobilenet_v2(const std::string& name, double width, bool small_input, int classes);

// MobileNetV4-Conv-Small ("MobileNetV4: Universal Models for the Mobile Ecosystem", ECCV 2024).
Arch mobilenetv4_conv_small(const std::string& name, bool small_input, int classes);

// ShuffleNetV2 ("ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018) with
// the channels of its three stages and its last layer.
Arch shufflenet_v2(const std::string& name, const std::vector<int>& channels, bool small_input, int classes);

// FasterNet-T0 ("Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks", CVPR 2023).
Arch fasternet_t0(const std::string& name, int classes);

// ShiftResNet ("Shift: A Zero FLOP, Zero Parameter Alternative", CVPR 2018) of depth 6n + 2 for 32 px, its
// units IB-SSL of `expansion` times their output channels. Shortcuts that change size are projections with
// batch norm.
Arch shiftresnet(const std::string& name, int depth, int expansion, int classes);

}  // namespace fewshift
