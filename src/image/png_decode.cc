// Decodes a PNG of any kind to upright 8-bit RGB; libpng's errors become Error.
// SPDX-License-Identifier: Apache-2.0
#include "image/png_decode.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "core/error.h"
#include "image/limits.h"
#include "image/orientation.h"

namespace fewshift {
namespace {

// libpng leaves a function by longjmp, which runs no destructors: what must live and be freed is kept here,
// outside of the functions that call setjmp.
struct Reader {
  explicit Reader(std::string_view bytes) : rest(bytes) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }

  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  char message[128] = "";
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader->rest.size()) png_error(png, "it is cut short");
  std::memcpy(out, reader->rest.data(), size);
  reader->rest.remove_prefix(size);
}

bool read_header(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_read_fn(reader.png, &reader, on_read);
  // The pixels are counted below, once the size is known.
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_chunk_malloc_max(reader.png, 16 << 20);
  png_set_chunk_cache_max(reader.png, 1);  // keep no text: a thousand packed ones would fill the memory
  png_read_info(reader.png, reader.info);
  return true;
}

bool convert_to_rgb(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_expand(reader.png);
  png_set_strip_16(reader.png);
  png_set_gray_to_rgb(reader.png);
  png_set_strip_alpha(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_rows(Reader& reader, uint8_t* out, int height, size_t row_bytes) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  const int passes = png_get_interlace_type(reader.png, reader.info) == PNG_INTERLACE_ADAM7 ? 7 : 1;
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < height; ++y) png_read_row(reader.png, out + y * row_bytes, nullptr);
  }
  png_read_end(reader.png, reader.info);
  return true;
}

void check_size(const Reader& reader, size_t file_size, const std::string& where) {
  const int64_t width = png_get_image_width(reader.png, reader.info);
  const int64_t height = png_get_image_height(reader.png, reader.info);
  const std::string size = std::to_string(width) + " x " + std::to_string(height);
  if (width * height > kMaxPixels) throw Error(ErrorCode::kUnsupported, where, size + " is over 2^27 pixels");
  // Deflate cannot shrink more than 1032 to 1.
  const auto packed = static_cast<int64_t>(png_get_rowbytes(reader.png, reader.info)) * height / 1032;
  if (packed > static_cast<int64_t>(file_size)) {
    throw Error(ErrorCode::kCorrupt, where,
                "its header says " + size + ", impossible in " + std::to_string(file_size) + " bytes");
  }
}

// Of the chunk that has it, which may stand behind the pixels too.
int orientation_of(const Reader& reader) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &exif) == 0) return 1;
  return exif_orientation({reinterpret_cast<const char*>(exif), size});
}

[[noreturn]] void fail(const Reader& reader, const std::string& where) {
  throw Error(ErrorCode::kCorrupt, where, std::string("the PNG cannot be decoded (") + reader.message + ")");
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& where) {
  Reader reader(bytes);
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) throw std::bad_alloc();
  if (!read_header(reader)) fail(reader, where);
  check_size(reader, bytes.size(), where);
  if (!convert_to_rgb(reader)) fail(reader, where);

  Image image;
  image.width = static_cast<int>(png_get_image_width(reader.png, reader.info));
  image.height = static_cast<int>(png_get_image_height(reader.png, reader.info));
  const size_t row_bytes = size_t(image.width) * 3;
  if (png_get_rowbytes(reader.png, reader.info) != row_bytes) {
    throw Error(ErrorCode::kUnsupported, where, "the PNG does not convert to RGB");
  }
  image.pixels.resize(row_bytes * image.height);
  if (!read_rows(reader, image.pixels.data(), image.height, row_bytes)) fail(reader, where);
  return upright(std::move(image), orientation_of(reader));
}

}  // namespace fewshift
