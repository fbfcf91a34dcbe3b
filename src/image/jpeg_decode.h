// JPEG files to RGB pictures, by libjpeg-turbo.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "image/decode.h"

namespace fewshift {

// decode_image for bytes that begin as a JPEG's do.
Image decode_jpeg(std::string_view bytes, const std::string& where, const Wanted& wanted);

}  // namespace fewshift
