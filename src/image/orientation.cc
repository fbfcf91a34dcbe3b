// SPDX-License-Identifier: Apache-2.0
#include "image/orientation.h"

#include <cstdint>
#include <cstring>

#include "image/fields.h"

namespace fewshift {

int exif_orientation(std::string_view exif) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  if (exif.substr(0, kExif.size()) == kExif) exif.remove_prefix(kExif.size());
  Fields tiff{exif};
  const std::string_view order = tiff.bytes.substr(0, 2);
  if (order != "II" && order != "MM") return 1;
  tiff.little = order == "II";
  if (tiff.get(2, 2) != 42u) return 1;
  const auto directory = tiff.get(4, 4);
  if (!directory) return 1;
  const uint32_t count = tiff.get(*directory, 2).value_or(0);
  for (uint32_t i = 0; i < count; ++i) {
    const size_t entry = size_t{*directory} + 2 + size_t{i} * 12;
    const auto tag = tiff.get(entry, 2), type = tiff.get(entry + 2, 2);
    if (!tag || !type) return 1;
    if (*tag != 0x0112) continue;
    if (*type != 3 && *type != 4) return 1;  // SHORT as the standard asks, or LONG as some write
    const uint32_t value = tiff.get(entry + 8, *type == 3 ? 2 : 4).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// Pixel (x, y) of the upright picture is found at (u, v) of the stored one.
Image upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const int width = stored.width, height = stored.height;
  const bool swap_axes = orientation >= 5;
  const bool flip_u = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_v = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image image;
  image.width = swap_axes ? height : width, image.height = swap_axes ? width : height;
  image.pixels.resize(stored.pixels.size());
  uint8_t* out = image.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x, out += 3) {
      int u = swap_axes ? y : x, v = swap_axes ? x : y;
      if (flip_u) u = width - 1 - u;
      if (flip_v) v = height - 1 - v;
      std::memcpy(out, &stored.pixels[(size_t(v) * width + u) * 3], 3);
    }
  }
  return image;
}

}  // namespace fewshift
