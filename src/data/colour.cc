// Blends towards a duller picture, and tables of 256 values.
// SPDX-License-Identifier: Apache-2.0
#include "data/colour.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace fewshift {
namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

uint8_t blend(float base, uint8_t value, float factor) {
  return static_cast<uint8_t>(std::clamp(base + (value - base) * factor + 0.5f, 0.0f, 255.0f));
}

float luma(const uint8_t* rgb) {
  return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

Histogram histogram_of(const Image& image, int channel) {
  Histogram counts{};
  for (size_t i = channel; i < image.pixels.size(); i += 3) ++counts[image.pixels[i]];
  return counts;
}

// Gives each channel the table made for its histogram.
void map_channels(Image& image, Table (*make_table)(const Histogram&)) {
  for (int c = 0; c < 3; ++c) {
    const Table table = make_table(histogram_of(image, c));
    for (size_t i = c; i < image.pixels.size(); i += 3) image.pixels[i] = table[image.pixels[i]];
  }
}

Table identity_table() {
  Table table;
  for (int v = 0; v < 256; ++v) table[v] = static_cast<uint8_t>(v);
  return table;
}

int least_value(const Histogram& counts) {
  return static_cast<int>(std::find_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }) -
                          counts.begin());
}

int greatest_value(const Histogram& counts) {
  return 255 -
         static_cast<int>(std::find_if(counts.rbegin(), counts.rend(), [](int64_t n) { return n > 0; }) -
                          counts.rbegin());
}

Table stretching_table(const Histogram& counts) {
  Table table = identity_table();
  const int low = least_value(counts), high = greatest_value(counts);
  if (low >= high) return table;
  const double scale = 255.0 / (high - low), offset = -low * scale;
  for (int v = low; v <= high; ++v) {
    table[v] = static_cast<uint8_t>(std::clamp(v * scale + offset, 0.0, 255.0));
  }
  return table;
}

// A value's place is the share of pixels below it, in steps of a 255th of those below the greatest value.
Table equalizing_table(const Histogram& counts) {
  Table table = identity_table();
  int64_t total = 0;
  for (int64_t n : counts) total += n;
  if (total == 0) return table;
  const int64_t step = (total - counts[greatest_value(counts)]) / 255;
  if (step == 0) return table;
  int64_t below = step / 2;
  for (int v = 0; v < 256; ++v) {
    table[v] = static_cast<uint8_t>(std::min<int64_t>(below / step, 255));
    below += counts[v];
  }
  return table;
}

}  // namespace

void change_brightness(Image& image, float factor) {
  for (uint8_t& value : image.pixels) value = blend(0, value, factor);
}

void change_contrast(Image& image, float factor) {
  double sum = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) sum += luma(&image.pixels[i]);
  const auto mean = static_cast<float>(sum / (image.pixels.size() / 3));
  for (uint8_t& value : image.pixels) value = blend(mean, value, factor);
}

void change_saturation(Image& image, float factor) {
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    const float grey = luma(&image.pixels[i]);
    for (int c = 0; c < 3; ++c) image.pixels[i + c] = blend(grey, image.pixels[i + c], factor);
  }
}

void change_sharpness(Image& image, float factor) {
  const std::vector<uint8_t> from = image.pixels;
  const size_t row = size_t(image.width) * 3;
  for (int y = 1; y < image.height - 1; ++y) {
    for (size_t i = y * row + 3; i < (y + 1) * row - 3; ++i) {
      int sum = 4 * from[i];  // the 3 x 3 neighbourhood, its centre five times: 13 parts
      for (size_t j : {i - row, i, i + row}) sum += from[j - 3] + from[j] + from[j + 3];
      const int smooth = (2 * sum + 13) / 26;
      image.pixels[i] = blend(static_cast<float>(smooth), from[i], factor);
    }
  }
}

void posterize(Image& image, int bits) {
  const int mask = 0xFF << (8 - bits);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(value & mask);
}

void solarize(Image& image, double threshold) {
  for (uint8_t& value : image.pixels) {
    if (value >= threshold) value = static_cast<uint8_t>(255 - value);
  }
}

void autocontrast(Image& image) {
  map_channels(image, stretching_table);
}

void equalize(Image& image) {
  map_channels(image, equalizing_table);
}

}  // namespace fewshift
