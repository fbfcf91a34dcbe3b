// Which way up a picture was taken, and turning it so.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

#include "image/image.h"

namespace fewshift {

// The orientation, 1 to 8, that an EXIF block says, with "Exif\0\0" before it or not; 1 where there is none,
// or nothing sensible.
int exif_orientation(std::string_view exif);

// Undoes it.
Image upright(Image stored, int orientation);

}  // namespace fewshift
