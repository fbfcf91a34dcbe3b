// The shift atlas: where the channels of each layer look, how they came there, and how far the whole can see.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "html/reach.h"
#include "image/image.h"

namespace fewshift::html {

struct AtlasLayer {
  std::string name;           // "units.3.shift"
  Moves now;                  // of every channel
  Moves start;                // likewise at the start of training; empty where that is not known
  int height = 0, width = 0;  // of the map it reads, px
  // After each of Atlas::epochs: the share of channels that do not move, and how far displacements are from
  // their start on average, px.
  std::vector<double> still, travelled;
  double microseconds = -1, still_microseconds = -1;  // of the layers it is part of, and with no channel
                                                      // moved; below 0: not measured
};

struct Atlas {
  std::string name;  // of the file or run
  Arch arch;
  int size = 0;  // of the input, px
  std::vector<AtlasLayer> layers;
  std::vector<int64_t> epochs;   // of a run's record; empty where there is none
  std::optional<Image> picture;  // size x size, to show the reach on
};

std::string atlas_page(const Atlas& atlas);

}  // namespace fewshift::html
