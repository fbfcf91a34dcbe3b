// Resizing and cropping.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "image/image.h"

namespace fewshift {

// A part of a picture in pixels, not necessarily whole ones; it may not leave the picture.
struct Box {
  double left = 0, top = 0, width = 0, height = 0;
};

enum class Interpolation { kBilinear, kBicubic };

// With antialiasing: the filter, a triangle or Catmull and Rom's cubic, is as wide as the scale when
// shrinking. As Pillow's Image.resize(BILINEAR or BICUBIC, box=...), of whole pictures to the bit. width,
// height >= 1.
Image resize(const Image& image, const Box& box, int width, int height,
             Interpolation interpolation = Interpolation::kBilinear);
Image resize(const Image& image, int width, int height,
             Interpolation interpolation = Interpolation::kBilinear);

// The short side becomes `side`, the long one in proportion (rounded down, as torchvision's
// Resize).
Image resize_short_side(const Image& image, int side);

// The rectangle at (left, top); parts outside the picture are black.
Image crop(const Image& image, int left, int top, int width, int height);

Image flip_horizontal(const Image& image);

}  // namespace fewshift
