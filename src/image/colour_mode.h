// Which colours a picture's file holds, before it is decoded to RGB.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace fewshift {

// "grey", "RGB" or "CMYK"; of a PNG also "palette"; behind it " + alpha" and " 16 bits". Of bytes that
// decode_image reads: else Error as there, or nothing.
std::string colour_mode(std::string_view bytes, const std::string& where);

}  // namespace fewshift
