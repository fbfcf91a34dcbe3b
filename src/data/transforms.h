// Training augmentations: each a function of the picture and of a random sequence alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "core/random.h"
#include "image/decode.h"
#include "image/image.h"
#include "image/preprocess.h"

namespace fewshift {

struct Augment {
  // "none": as in evaluation. "pad": (resize to size x size if it is not,) pad by `pad` black px, crop
  // size x size at random. "random_resized": a random part of scale_min to 1 of the area, aspect 3/4 to 4/3,
  // resized to size x size (ten tries, then the centre, as torchvision's).
  std::string crop = "none";
  int pad = 4;
  double scale_min = 0.35;
  bool flip = false;         // half of the pictures, left to right
  double colour_jitter = 0;  // brightness, contrast, saturation: factors in 1 -+ this, in random order
  int rand_augment = 0;      // operations of RandAugment a picture (Cubuk et al., 2020), up to 16; 0: none
  double magnitude = 9;      // their strength, 0 to 10
  double erasing = 0;        // share of pictures of which a random rectangle is erased (Zhong et al., 2017)
};

// How large a picture `random` will want of it (image/decode.h): so that no part that it takes has fewer px
// than are made of it.
Wanted wanted_by(const Augment& augment, const Preprocess& preprocess, Random random);

// Writes the augmented, normalised picture, out: [size][size][3]: cropped, flipped, RandAugment, colour
// jitter, normalised, erased. What is off draws nothing from the sequence. Throws Error (kInvalidArgument)
// naming the option that is out of range.
void augment(const Image& image, const Augment& augment, const Preprocess& preprocess, Random random,
             float* out);

}  // namespace fewshift
