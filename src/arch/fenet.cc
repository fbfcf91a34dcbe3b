// FE-Net: FE-Blocks of inverted bottlenecks that bring more channels into play unit by unit.
// SPDX-License-Identifier: Apache-2.0
#include "arch/families.h"

namespace fewshift {
namespace {

class Builder {
 public:
  Builder(Arch& arch, const FeNetOptions& options) : arch_(arch), options_(options) {}

  void bottleneck(int in, int first, int expansion, int out, Spatial spatial) {
    const int width = in - first;
    arch_.add(InvertedBottleneck{in, first, expansion * (options_.expand_output && first == 0 ? out : width),
                                 out, spatial, first > 0 ? Shortcut::kIdentity : Shortcut::kNone,
                                 options_.squeeze ? 8 : 0});
  }

  // Progressive mixing: unit 1 updates the last in / 2^(units-1) channels, the next twice as many, the last
  // takes all.
  void block(int units, int in, int out, Spatial last) {
    for (int unit = 0; unit < units - 1; ++unit)
      bottleneck(in, in - (in >> (units - 1 - unit)), 6, in, Spatial::kShift);
    bottleneck(in, 0, 6, out, last);
  }

 private:
  Arch& arch_;
  const FeNetOptions& options_;
};

}  // namespace

Arch fenet(const std::string& name, const FeNetOptions& options, int classes) {
  Arch arch{name, options.small_input ? 32 : 224, {}};
  const int p = static_cast<int>(16 * options.width);
  Builder net(arch, options);
  arch.add(ConvBn{3, p, 3, options.small_input ? 1 : 2});
  net.bottleneck(p, 0, 4, p, Spatial::kShift);
  net.bottleneck(p, 0, 5, 2 * p, options.small_input ? Spatial::kShift : Spatial::kPool);
  net.block(3, 2 * p, 4 * p, Spatial::kPool);
  net.block(4, 4 * p, 8 * p, Spatial::kPool);
  net.block(4, 8 * p, 8 * p, Spatial::kShift);
  net.block(4, 8 * p, 16 * p, Spatial::kPool);
  net.block(3, 16 * p, 16 * p, Spatial::kShift);
  arch.add(Classifier{16 * p, options.head, classes, 0.2});
  return arch;
}

}  // namespace fewshift
