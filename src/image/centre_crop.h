// The middle of a picture at the size a network looks at.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "image/image.h"
#include "image/preprocess.h"

namespace fewshift {

// The middle size x size of the picture resized by its short side to `resize`; only that part is computed.
Image resize_centre_crop(const Image& image, const Preprocess& preprocess);

}  // namespace fewshift
