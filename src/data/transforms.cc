// Random crops, flips and colours, one after the other; all draws come from the sequence given.
// SPDX-License-Identifier: Apache-2.0
#include "data/transforms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "data/colour.h"
#include "data/erase.h"
#include "data/rand_augment.h"
#include "image/centre_crop.h"
#include "image/resize.h"

namespace fewshift {
namespace {

void check(bool good, const char* option, const std::string& message) {
  if (!good) throw Error(ErrorCode::kInvalidArgument, option, message);
}

void check_augment(const Augment& augment) {
  check(augment.crop == "none" || augment.crop == "pad" || augment.crop == "random_resized", "crop",
        "\"" + augment.crop + "\" is none of none, pad, random_resized");
  check(augment.pad >= 0 && augment.pad <= 4096, "pad", "must be from 0 to 4096");
  check(augment.scale_min > 0 && augment.scale_min <= 1, "scale_min", "must be above 0 and at most 1");
  check(augment.colour_jitter >= 0 && augment.colour_jitter <= 1, "colour_jitter", "must be from 0 to 1");
  check(augment.rand_augment >= 0 && augment.rand_augment <= 16, "rand_augment", "must be from 0 to 16");
  check(augment.magnitude >= 0 && augment.magnitude <= 10, "magnitude", "must be from 0 to 10");
  check(augment.erasing >= 0 && augment.erasing <= 1, "erasing", "must be from 0 to 1");
}

Image crop_padded(const Image& image, const Preprocess& preprocess, int pad, Random& random) {
  const int size = preprocess.size;
  const int left = static_cast<int>(random.below(2 * pad + 1)) - pad;
  const int top = static_cast<int>(random.below(2 * pad + 1)) - pad;
  return crop(resize(image, size, size, preprocess.interpolation), left, top, size, size);
}

Box random_box(int width, int height, double scale_min, Random& random) {
  constexpr double kNarrow = 3.0 / 4, kWide = 4.0 / 3;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = double(width) * height * random.uniform(scale_min, 1.0);
    const double aspect = std::exp(random.uniform(std::log(kNarrow), std::log(kWide)));
    const double w = std::round(std::sqrt(area * aspect)), h = std::round(std::sqrt(area / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto top = static_cast<double>(random.below(static_cast<uint64_t>(height - h) + 1));
    const auto left = static_cast<double>(random.below(static_cast<uint64_t>(width - w) + 1));
    return {left, top, w, h};
  }
  const double aspect = double(width) / height;
  double w = width, h = height;
  if (aspect < kNarrow) h = std::clamp<double>(std::round(w / kNarrow), 1, height);
  if (aspect > kWide) w = std::clamp<double>(std::round(h * kWide), 1, width);
  return {std::floor((width - w) / 2), std::floor((height - h) / 2), w, h};
}

Image crop_at_random(const Image& image, const Augment& augment, const Preprocess& preprocess,
                     Random& random) {
  if (augment.crop == "pad") return crop_padded(image, preprocess, augment.pad, random);
  if (augment.crop == "none") return resize_centre_crop(image, preprocess);
  const int width = image.full_width > 0 ? image.full_width : image.width;
  const int height = image.full_height > 0 ? image.full_height : image.height;
  Box box = random_box(width, height, augment.scale_min, random);
  const double x = double(image.width) / width, y = double(image.height) / height;
  box = {box.left * x, box.top * y, box.width * x, box.height * y};
  box.width = std::min(box.width, image.width - box.left);  // but for rounding they are inside
  box.height = std::min(box.height, image.height - box.top);
  return resize(image, box, preprocess.size, preprocess.size, preprocess.interpolation);
}

void jitter(Image& image, double strength, Random& random) {
  std::array changes = {change_brightness, change_contrast, change_saturation};
  shuffle(changes, random);
  for (auto* change : changes) {
    change(image, static_cast<float>(random.uniform(1 - strength, 1 + strength)));
  }
}

}  // namespace

Wanted wanted_by(const Augment& augment, const Preprocess& preprocess, Random random) {
  return [augment, preprocess, random](int width, int height) {
    if (augment.crop != "random_resized" || preprocess.decode_in_full) return decode_min_side(preprocess);
    Random draws = random;
    const Box box = random_box(width, height, augment.scale_min, draws);
    return static_cast<int>(
        std::ceil(std::min(width, height) * preprocess.size / std::min(box.width, box.height)));
  };
}

void augment(const Image& image, const Augment& augment, const Preprocess& preprocess, Random random,
             float* out) {
  check_augment(augment);
  Image picture = crop_at_random(image, augment, preprocess, random);
  if (augment.flip && random.chance(0.5)) picture = flip_horizontal(picture);
  if (augment.rand_augment > 0) rand_augment(picture, augment.rand_augment, augment.magnitude, random);
  if (augment.colour_jitter > 0) jitter(picture, augment.colour_jitter, random);
  normalise(picture, preprocess, out);
  if (augment.erasing > 0 && random.chance(augment.erasing)) erase_rectangle(out, preprocess.size, random);
}

}  // namespace fewshift
