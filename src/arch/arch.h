// Networks as data: a list of units, each saying its channels and what it does. No weights, no LibTorch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace fewshift {

// kernel x kernel convolution (padding kernel / 2, no bias), batch norm, and ReLU if asked.
struct ConvBn {
  int in, out, kernel, stride;
  bool relu;
};

// What an inverted bottleneck does between its two pointwise layers.
enum class Spatial {
  kShift,         // sparse shift
  kStridedShift,  // sparse shift of stride 2
  kPool,          // 2x2 average pool of stride 2
};

enum class Shortcut {
  kNone,
  kIdentity,    // adds its input
  kProjection,  // adds pointwise(input) of the same stride, batch norm
};

// IB-SSL and IB-Pool ("All You Need is a Few Shifts"): pointwise expand, BN, ReLU; spatial; pointwise
// project, BN. Reads channels [first, in) of a map of `in` channels. With first > 0 it is an FE-Block's
// residual unit: it updates those channels and lets the others pass, so out = in.
struct InvertedBottleneck {
  int in, first, hidden, out;
  Spatial spatial;
  Shortcut shortcut;
  int squeeze = 0;  // squeeze-and-excitation on the hidden activation, after `spatial`: hidden / squeeze
                    // channels; 0: none
  int width() const { return in - first; }
};

// To class scores: (pointwise to `head`, BN, if head > 0,) ReLU, average over the map, dropout, linear.
struct Classifier {
  int in, head, classes;
  double dropout;
};

using Unit = std::variant<ConvBn, InvertedBottleneck, Classifier>;

struct NamedUnit {
  std::string name;  // the prefix of its parameters in a checkpoint: "units.3"
  Unit unit;
};

struct Arch {
  std::string name;
  int size;  // px, of the square RGB input that the network is made for; others work too
  std::vector<NamedUnit> units;
};

}  // namespace fewshift
