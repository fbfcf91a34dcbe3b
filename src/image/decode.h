// JPEG, PNG and WebP files to RGB pictures.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "image/image.h"

namespace fewshift {

// How large a picture of so many px (upright) is wanted: its shorter side at least; 0: as it is. A JPEG may
// then be decoded at a smaller DCT scale, which is faster.
using Wanted = std::function<int(int width, int height)>;

// Decodes a JPEG (baseline or progressive; grey, YCbCr, RGB, CMYK or YCCK), a PNG (any colour type and depth)
// or a WebP (lossy or lossless), drops alpha, and turns it upright by its EXIF orientation. The format is
// read from the bytes, not from a name. `where` names the file in errors. Throws Error: kCorrupt (truncated,
// empty, impossible sizes), kUnsupported (another format; an animation; over 2^27 pixels).
Image decode_image(std::string_view bytes, const std::string& where, const Wanted& wanted = {});
// With a shorter side of at least `min_side`, whatever its size; 0: as it is.
Image decode_image(std::string_view bytes, const std::string& where, int min_side);

// Reads and decodes a file. Throws Error as read_file and decode_image do.
Image load_image(const std::filesystem::path& path, int min_side = 0);
Image load_image(const std::filesystem::path& path, const Wanted& wanted);

// Whether the name ends as a picture's does, in any case.
inline constexpr const char* kImageExtensions = ".jpg, .jpeg, .png, .webp";
bool has_image_extension(const std::filesystem::path& path);

}  // namespace fewshift
