// Colours of a picture changed in place: each pixel by itself, by its neighbours or by the histogram.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "image/image.h"

namespace fewshift {

// As Pillow's ImageEnhance: factor 1 leaves the picture, 0 gives black, the mean grey, grey and a smoothed
// picture, above 1 exaggerates. Rounded where Pillow truncates, and with means and greys that are no whole
// numbers: within one grey level of Pillow's (contrast: at worst two, as its mean is rounded twice there).
void change_brightness(Image& image, float factor);
void change_contrast(Image& image, float factor);
void change_saturation(Image& image, float factor);
void change_sharpness(Image& image, float factor);  // the outermost pixels stay

// As Pillow's ImageOps, exactly.
void posterize(Image& image, int bits);         // keeps the upper 1 to 8 bits
void solarize(Image& image, double threshold);  // values from the threshold on become 255 - value
// By channel; a channel of one value stays.
void autocontrast(Image& image);  // the least value becomes 0, the greatest 255
void equalize(Image& image);      // a flat histogram, roughly; pictures below 256 px or so stay

}  // namespace fewshift
