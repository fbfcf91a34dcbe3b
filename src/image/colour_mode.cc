// SPDX-License-Identifier: Apache-2.0
#include "image/colour_mode.h"

#include <webp/decode.h>

#include <cstdint>

#include "image/jpeg_header.h"

namespace fewshift {
namespace {

// From the header chunk, which is the first; transparency of a palette or a single colour is a chunk of its
// own, before the pixels.
std::string png_mode(std::string_view bytes) {
  constexpr size_t kDepth = 24, kColour = 25;
  if (bytes.size() <= kColour) return "";
  const int colour = static_cast<uint8_t>(bytes[kColour]);
  std::string mode = colour == 3 ? "palette" : (colour & 2) != 0 ? "RGB" : "grey";
  const std::string_view before = bytes.substr(0, bytes.find("IDAT"));
  if ((colour & 4) != 0 || before.find("tRNS") != std::string_view::npos) mode += " + alpha";
  if (bytes[kDepth] == 16) mode += " 16 bits";
  return mode;
}

}  // namespace

std::string colour_mode(std::string_view bytes, const std::string& where) {
  if (bytes.substr(0, 4) == "\x89PNG") return png_mode(bytes);
  if (bytes.substr(0, 4) == "RIFF") {
    WebPBitstreamFeatures features;
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    const bool read = WebPGetFeatures(data, bytes.size(), &features) == VP8_STATUS_OK;
    return !read ? "" : features.has_alpha ? "RGB + alpha" : "RGB";
  }
  const int components = read_jpeg_header(bytes, where).components;
  return components == 1 ? "grey" : components == 3 ? "RGB" : "CMYK";
}

}  // namespace fewshift
