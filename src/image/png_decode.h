// PNG files to RGB pictures, by libpng.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "image/image.h"

namespace fewshift {

// decode_image for bytes that begin as a PNG's do.
Image decode_png(std::string_view bytes, const std::string& where);

}  // namespace fewshift
