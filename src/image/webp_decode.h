// WebP files to RGB pictures.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "image/image.h"

namespace fewshift {

// Of a file that begins as a WebP; throws Error as decode_image does.
Image decode_webp(std::string_view bytes, const std::string& where);

}  // namespace fewshift
