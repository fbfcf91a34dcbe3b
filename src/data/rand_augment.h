// RandAugment: a few operations drawn at random, all at one strength (Cubuk, Zoph, Shlens and Le, 2020).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/random.h"
#include "image/image.h"

namespace fewshift {

// torchvision's choice. In brackets what magnitude 10 does; magnitude 0 does nothing (but kSolarize, see
// there), and between it is linear.
enum class RandOperation {
  kIdentity,
  kShearX,  // [0.3 px a px, about the upper left corner]
  kShearY,
  kTranslateX,  // [150/331 of the side, whole pixels]
  kTranslateY,
  kRotate,      // [30 degrees, about the middle]
  kBrightness,  // [factor 1 -+ 0.9]
  kColour,
  kContrast,
  kSharpness,
  kPosterize,     // [4 bits are kept]
  kSolarize,      // [threshold 0]; at magnitude 0 it is 255, and pure white turns
  kAutocontrast,  // at any magnitude the same
  kEqualize,      // so too
};
inline constexpr int kRandOperations = 14;

// One operation, in place. magnitude: 0 to 10. `negative` turns kShearX to kSharpness the other way round;
// the rest has one way only. Moved pictures keep their size: nearest neighbour, black beyond the edges, as
// torchvision's defaults.
void apply(RandOperation operation, double magnitude, bool negative, Image& image);

// `count` operations, each drawn from all of them, in place. The magnitude is on the scale of the authors'
// code: torchvision's default, 9 of 30, is 3 here.
void rand_augment(Image& image, int count, double magnitude, Random& random);

}  // namespace fewshift
