// A network of one's own, of units that are there: a stem, four shift bottlenecks on two scales, a
// classifier. The program is `fewshift` with one more --model; docs/adding_a_model.md explains it.
// SPDX-License-Identifier: Apache-2.0
#include "arch/registry.h"
#include "cli/program.h"

namespace {

using namespace fewshift;

Arch pocket(int classes) {
  Arch arch{"pocket", 32, {}};  // its name, and the size of its input in px
  const auto unit = [&](int in, int out) {
    const bool same = in == out;  // where the width grows, the map is halved
    arch.add(InvertedBottleneck{in, 0, 4 * in, out, same ? Spatial::kShift : Spatial::kPool,
                                same ? Shortcut::kIdentity : Shortcut::kNone});
  };
  arch.add(ConvBn{3, 16, 3, 1, Activation::kRelu});
  unit(16, 16);
  unit(16, 32);
  unit(32, 32);
  unit(32, 32);
  arch.add(Classifier{32, 128, classes});
  return arch;
}

}  // namespace

int main(int argc, char** argv) {
  RegistryEntry entry;
  entry.name = "pocket";
  entry.classes = 10;  // where `models` counts it; a training has as many as its folder
  add_model(entry, pocket);
  return cli::program(argc, argv);
}
