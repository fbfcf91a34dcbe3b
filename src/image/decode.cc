// Finds a picture's format from its first bytes and hands it to the decoder.
// SPDX-License-Identifier: Apache-2.0
#include "image/decode.h"

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "image/jpeg_decode.h"
#include "image/png_decode.h"
#include "image/webp_decode.h"

namespace fewshift {
namespace {

constexpr std::string_view kJpeg("\xFF\xD8\xFF", 3), kPng("\x89PNG\r\n\x1A\n", 8);

bool begins(std::string_view bytes, std::string_view with) {
  return bytes.substr(0, with.size()) == with;
}

// "RIFF", the file's size in 4 bytes, "WEBP".
bool begins_webp(std::string_view bytes) {
  return begins(bytes, "RIFF") && begins(bytes.substr(std::min<size_t>(8, bytes.size())), "WEBP");
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& where, int min_side) {
  return decode_image(bytes, where, [min_side](int, int) { return min_side; });
}

Image decode_image(std::string_view bytes, const std::string& where, const Wanted& wanted) {
  if (bytes.empty()) throw Error(ErrorCode::kCorrupt, where, "the file is empty");
  if (begins(bytes, kJpeg)) return decode_jpeg(bytes, where, wanted);
  if (begins(bytes, kPng)) return decode_png(bytes, where);
  if (begins_webp(bytes)) return decode_webp(bytes, where);
  if (begins(kJpeg, bytes) || begins(kPng, bytes) || begins("RIFF", bytes) ||
      (begins(bytes, "RIFF") && bytes.size() < 12)) {
    throw Error(ErrorCode::kCorrupt, where, "the file is cut short within its first bytes");
  }
  throw Error(ErrorCode::kUnsupported, where, "the file is none of JPEG, PNG and WebP");
}

Image load_image(const std::filesystem::path& path, int min_side) {
  return decode_image(read_file(path), path.string(), min_side);
}
Image load_image(const std::filesystem::path& path, const Wanted& wanted) {
  return decode_image(read_file(path), path.string(), wanted);
}

bool has_image_extension(const std::filesystem::path& path) {
  const std::string extension = extension_of(path);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

}  // namespace fewshift
