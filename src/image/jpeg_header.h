// What a JPEG's markers say before its scans: the size, the components and the EXIF orientation.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace fewshift {

struct JpegHeader {
  int width = 0;        // px
  int height = 0;       // px
  int components = 0;   // 1, 3 or 4
  int orientation = 1;  // EXIF's, 1 to 8
  bool adobe = false;   // has an Adobe marker: CMYK is then stored inverted
};

// Throws Error: kCorrupt (ends too early, no frame), kUnsupported (lossless, 12 bits, an odd number of
// components).
JpegHeader read_jpeg_header(std::string_view bytes, const std::string& where);

}  // namespace fewshift
