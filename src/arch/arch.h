// Networks as data: a list of units, each saying its channels and what it does. No weights, no LibTorch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <variant>
#include <vector>

namespace fewshift {

enum class Activation { kNone, kRelu, kRelu6, kGelu };

// kernel x kernel convolution without bias, batch norm, activation.
struct ConvBn {
  int in, out, kernel, stride;
  Activation activation = Activation::kNone;
  int groups = 1;
  int padding = -1;  // px on every side; below 0: kernel / 2
  int pad() const { return padding < 0 ? kernel / 2 : padding; }
};

// Of kernel / 2 px of padding.
struct MaxPool {
  int kernel, stride;
};

// What an inverted bottleneck does between its two pointwise layers.
enum class Spatial {
  kShift,         // the network's spatial operator (Arch::shift)
  kStridedShift,  // the same of stride 2
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

// ResNet's ("Deep Residual Learning"): 3x3 convolution, BN, ReLU, 3x3 convolution, BN; plus its input; ReLU.
// Where the size changes, the shortcut takes every second pixel and channels of zeros behind (option A: no
// parameters).
struct BasicBlock {
  int in, out, stride;
};

// MobileNetV4's universal inverted bottleneck, of which MobileNetV2's is a case: (depthwise `start_kernel`,
// BN;) pointwise expand, BN, activation; (depthwise `kernel`, BN, activation;) pointwise project, BN; plus
// its input where stride is 1 and in = out. A kernel of 0: no such depthwise layer. hidden = in: no
// expansion. The stride is that of the second depthwise layer, or of the first where it stands alone.
struct UniversalBottleneck {
  int in, hidden, out, start_kernel, kernel, stride;
  Activation activation;
  bool residual() const { return stride == 1 && in == out; }
};

// ShuffleNetV2's. Stride 1: half of the channels pass, the others go through pointwise, BN, ReLU; depthwise
// 3x3, BN; pointwise, BN, ReLU. Stride 2: all go that way, and beside it through depthwise 3x3, BN;
// pointwise, BN, ReLU. Then both halves are put side by side and their channels interleaved.
struct ShuffleUnit {
  int in, out, stride;
};

// FasterNet's ("Run, Don't Walk"): x + project(GELU(BN(expand(z)))), where z is x with its first channels / 4
// replaced by their 3x3 convolution, expand and project pointwise.
struct PartialBlock {
  int channels, hidden;
  int mixed() const { return channels / 4; }
};

// To class scores: (pointwise to `head`, BN, if head > 0,) activation, average over the map, (pointwise to
// `pooled`, BN if `pooled_norm`, `pooled_activation`, if pooled > 0,) dropout, linear.
struct Classifier {
  int in, head, classes;
  double dropout = 0;
  Activation activation = Activation::kRelu;
  int pooled = 0;
  Activation pooled_activation = Activation::kRelu;
  bool pooled_norm = true;
};

using Unit = std::variant<ConvBn, MaxPool, InvertedBottleneck, BasicBlock, UniversalBottleneck, ShuffleUnit,
                          PartialBlock, Classifier>;

struct NamedUnit {
  std::string name;  // the prefix of its parameters in a checkpoint: "units.3"
  Unit unit;
};

struct Arch {
  std::string name;
  int size;  // px, of the square RGB input that the network is made for; others work too
  std::vector<NamedUnit> units;
  std::string shift = "ssl";  // the spatial operator of its inverted bottlenecks, a name of arch/spatial.h

  // Appends a unit: the first is "stem", the classifier "classifier", those between "units.0" and so on.
  void add(const Unit& unit) {
    const bool last = std::holds_alternative<Classifier>(unit);
    units.push_back({units.empty() ? "stem"
                     : last        ? "classifier"
                                   : "units." + std::to_string(units.size() - 1),
                     unit});
  }
};

// Whether a network has a place for a spatial operator.
bool takes_shift(const Arch& arch);

}  // namespace fewshift
