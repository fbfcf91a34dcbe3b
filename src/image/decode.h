// JPEG and PNG files to RGB pictures.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "image/image.h"

namespace fewshift {

// Decodes a JPEG (baseline or progressive; grey, YCbCr, RGB, CMYK or YCCK; turned upright by its EXIF
// orientation) or a PNG (any colour type and depth; alpha is dropped). The format is read from the bytes, not
// from a name. With `min_side` > 0 a JPEG may be decoded at a smaller DCT scale, as long as its short side
// stays at least `min_side` px. `where` names the file in errors.
// Throws Error: kCorrupt (truncated, empty, impossible sizes), kUnsupported (another format; over 2^27
// pixels).
Image decode_image(std::string_view bytes, const std::string& where, int min_side = 0);

// Reads and decodes a file. Throws Error as read_file and decode_image do.
Image load_image(const std::filesystem::path& path, int min_side = 0);

// Whether the name ends as a picture's does: .jpg .jpeg .png, in any case.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace fewshift
