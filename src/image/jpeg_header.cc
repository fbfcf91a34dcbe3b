// Walks a JPEG's marker segments as libjpeg does, never past the end of the bytes.
// SPDX-License-Identifier: Apache-2.0
#include "image/jpeg_header.h"

#include <cstdint>

#include "core/error.h"
#include "image/fields.h"
#include "image/orientation.h"

namespace fewshift {
namespace {

constexpr int kStartOfScan = 0xDA, kEndOfImage = 0xD9, kApp1 = 0xE1, kApp14 = 0xEE;

bool is_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

void read_frame(int marker, std::string_view segment, const std::string& where, JpegHeader& header) {
  // Baseline, extended and progressive, by Huffman or arithmetic coding.
  const bool known = (marker >= 0xC0 && marker <= 0xC2) || marker == 0xC9 || marker == 0xCA;
  if (!known) throw Error(ErrorCode::kUnsupported, where, "a lossless or hierarchical JPEG is not read");
  const Fields fields{segment};
  const auto precision = fields.get(0, 1), height = fields.get(1, 2), width = fields.get(3, 2);
  const auto components = fields.get(5, 1);
  if (!components) throw Error(ErrorCode::kCorrupt, where, "the JPEG's frame header is too short");
  if (*precision != 8) {
    throw Error(ErrorCode::kUnsupported, where,
                "a JPEG of " + std::to_string(*precision) + " bits a sample is not read, only of 8");
  }
  if (*width == 0 || *height == 0) throw Error(ErrorCode::kCorrupt, where, "the JPEG's width or height is 0");
  if (*components != 1 && *components != 3 && *components != 4) {
    throw Error(ErrorCode::kUnsupported, where,
                "a JPEG of " + std::to_string(*components) + " components is not read, only of 1, 3 or 4");
  }
  header.width = static_cast<int>(*width);
  header.height = static_cast<int>(*height);
  header.components = static_cast<int>(*components);
}

// The next marker at or after `at`, which moves behind it; garbage before it is skipped. -1 at the end.
int next_marker(std::string_view bytes, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  while (at < bytes.size()) {
    while (at < bytes.size() && byte(at) != 0xFF) ++at;
    while (at < bytes.size() && byte(at) == 0xFF) ++at;
    if (at < bytes.size() && byte(at++) != 0) return byte(at - 1);
  }
  return -1;
}

bool stands_alone(int marker) {
  return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8);
}

}  // namespace

JpegHeader read_jpeg_header(std::string_view bytes, const std::string& where) {
  JpegHeader header;
  bool exif_seen = false;
  const Fields fields{bytes};
  for (size_t at = 2;;) {
    const int marker = next_marker(bytes, at);
    if (marker == kStartOfScan || marker == kEndOfImage) break;
    if (marker >= 0 && stands_alone(marker)) continue;
    const uint32_t length = fields.get(at, 2).value_or(0);
    if (marker < 0 || bytes.size() - at < 2 || bytes.size() - at < length) {
      throw Error(ErrorCode::kCorrupt, where, "the JPEG ends inside its header; it was cut short");
    }
    if (length < 2) throw Error(ErrorCode::kCorrupt, where, "the JPEG has a segment of impossible length");
    const std::string_view segment = bytes.substr(at + 2, length - 2);
    if (is_frame(marker) && header.width == 0) read_frame(marker, segment, where, header);
    if (marker == kApp1 && !exif_seen && segment.substr(0, 4) == "Exif") {
      header.orientation = exif_orientation(segment);
      exif_seen = true;
    }
    if (marker == kApp14 && segment.size() >= 12 && segment.substr(0, 5) == "Adobe") header.adobe = true;
    at += length;
  }
  if (header.width == 0) throw Error(ErrorCode::kCorrupt, where, "the JPEG holds no picture");
  return header;
}

}  // namespace fewshift
