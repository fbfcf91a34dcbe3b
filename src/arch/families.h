// The families behind the registry, one file each.
// SPDX-License-Identifier: Apache-2.0
#pragma once
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

// ShiftResNet ("Shift: A Zero FLOP, Zero Parameter Alternative", CVPR 2018) of depth 6n + 2 for 32 px, its
// units IB-SSL of `expansion` times their output channels. Shortcuts that change size are projections with
// batch norm.
Arch shiftresnet(const std::string& name, int depth, int expansion, int classes);

}  // namespace fewshift
