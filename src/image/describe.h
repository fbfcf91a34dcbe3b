// What a picture's file says of itself, before it is decoded.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace fewshift {

struct PictureKind {
  std::string format;  // "JPEG", "PNG"
  // "grey", "RGB", "CMYK"; a PNG also "palette", with " + alpha", and with " 16 bits"
  std::string mode;
};

// Of bytes that decode_image reads: else Error as there, or a kind that says nothing.
PictureKind describe_picture(std::string_view bytes, const std::string& where);

}  // namespace fewshift
