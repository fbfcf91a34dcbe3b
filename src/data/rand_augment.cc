// Magnitudes to parameters; shears, translations and rotations by one affine resampling.
// SPDX-License-Identifier: Apache-2.0
#include "data/rand_augment.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "data/colour.h"

namespace fewshift {
namespace {

// Where the value at (x, y) comes from: (xx x + xy y + x0, yx x + yy y + y0), in px from the upper left
// corner, a pixel's middle at +0.5.
struct Affine {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;
};

// Nearest neighbour; black where the source lies outside.
void resample(Image& image, const Affine& from) {
  const int width = image.width, height = image.height;
  std::vector<uint8_t> out(image.pixels.size());
  uint8_t* to = out.data();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x, to += 3) {
      const double u = from.xx * (x + 0.5) + from.xy * (y + 0.5) + from.x0;
      const double v = from.yx * (x + 0.5) + from.yy * (y + 0.5) + from.y0;
      if (!(u >= 0 && u < width && v >= 0 && v < height)) continue;
      std::memcpy(to, &image.pixels[(size_t(v) * width + size_t(u)) * 3], 3);
    }
  }
  image.pixels.swap(out);
}

// Anticlockwise, about the middle.
Affine rotation(double degrees, int width, int height) {
  const double angle = degrees * (3.14159265358979323846 / 180), c = std::cos(angle), s = std::sin(angle);
  const double x = width / 2.0, y = height / 2.0;
  return {c, -s, x - c * x + s * y, s, c, y - s * x - c * y};
}

double shift(double signed_level, int side) {
  return std::trunc(signed_level * (150.0 / 331) * side);
}

}  // namespace

void apply(RandOperation operation, double magnitude, bool negative, Image& image) {
  const double level = magnitude / 10, way = negative ? -level : level;
  const auto factor = static_cast<float>(1 + 0.9 * way);
  switch (operation) {
    case RandOperation::kIdentity:
      return;
    case RandOperation::kShearX:
      return resample(image, {.xy = 0.3 * way});
    case RandOperation::kShearY:
      return resample(image, {.yx = 0.3 * way});
    case RandOperation::kTranslateX:
      return resample(image, {.x0 = -shift(way, image.width)});
    case RandOperation::kTranslateY:
      return resample(image, {.y0 = -shift(way, image.height)});
    case RandOperation::kRotate:
      return resample(image, rotation(30 * way, image.width, image.height));
    case RandOperation::kBrightness:
      return change_brightness(image, factor);
    case RandOperation::kColour:
      return change_saturation(image, factor);
    case RandOperation::kContrast:
      return change_contrast(image, factor);
    case RandOperation::kSharpness:
      return change_sharpness(image, factor);
    case RandOperation::kPosterize:
      return posterize(image, 8 - static_cast<int>(std::lround(4 * level)));
    case RandOperation::kSolarize:
      return solarize(image, 255 * (1 - level));
    case RandOperation::kAutocontrast:
      return autocontrast(image);
    case RandOperation::kEqualize:
      return equalize(image);
  }
}

void rand_augment(Image& image, int count, double magnitude, Random& random) {
  for (int i = 0; i < count; ++i) {
    const auto operation = static_cast<RandOperation>(random.below(kRandOperations));
    const bool negative =
        random.chance(0.5);  // drawn for each, so that the sequence does not hang on what came
    apply(operation, magnitude, negative, image);
  }
}

}  // namespace fewshift
