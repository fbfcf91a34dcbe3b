// Walks a JPEG's marker segments as libjpeg does, never past the end of the bytes.
// SPDX-License-Identifier: Apache-2.0
#include "image/jpeg_header.h"

#include <cstdint>
#include <optional>

#include "core/error.h"

namespace fewshift {
namespace {

constexpr int kStartOfScan = 0xDA, kEndOfImage = 0xD9, kApp1 = 0xE1, kApp14 = 0xEE;

// Reads numbers of either byte order, within its bytes.
struct Fields {
  std::string_view bytes;
  bool little = false;

  std::optional<uint32_t> get(size_t at, size_t width) const {
    if (at > bytes.size() || bytes.size() - at < width) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) {
      const size_t from = little ? at + width - 1 - i : at + i;
      value = value << 8 | static_cast<uint8_t>(bytes[from]);
    }
    return value;
  }
};

// The orientation in an APP1 segment; 1 where there is none, or nothing sensible.
int exif_orientation(std::string_view segment) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  if (segment.substr(0, kExif.size()) != kExif) return 1;
  Fields tiff{segment.substr(kExif.size())};
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
