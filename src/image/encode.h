// Pictures to JPEG files, for pages that show them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "image/image.h"

namespace fewshift {

// quality: 1 to 100, as libjpeg's. Throws Error (kUnsupported) where a side is over 65500 px, or none.
std::string encode_jpeg(const Image& image, int quality);

}  // namespace fewshift
