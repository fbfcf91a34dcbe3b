// For tests: small pictures, encoded to JPEG and PNG, and a temporary folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>
#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "image/image.h"

namespace fewshift::testing_support {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fewshift_test_XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline Image flat(int width, int height, int r, int g, int b) {
  Image image{width, height, {}};
  for (int i = 0; i < width * height; ++i) {
    for (int v : {r, g, b}) image.pixels.push_back(static_cast<uint8_t>(v));
  }
  return image;
}

inline Image noise(int width, int height, uint64_t seed) {
  Image image{width, height, std::vector<uint8_t>(size_t(width) * height * 3)};
  Random random{seed};
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  return image;
}

// Four flat quarters, red, green, blue and white, in reading order: survives JPEG, and shows every
// orientation.
inline Image quarters(int width, int height) {
  Image image{width, height, {}};
  constexpr uint8_t kColours[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto& colour = kColours[(y >= height / 2) * 2 + (x >= width / 2)];
      image.pixels.insert(image.pixels.end(), colour, colour + 3);
    }
  }
  return image;
}

inline std::string encode_jpeg(const uint8_t* pixels, int width, int height, int format,
                               int sampling = TJSAMP_444, int flags = 0, int quality = 95) {
  const tjhandle handle = tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, pixels, width, 0, height, format, &out, &size, sampling, quality, flags), 0);
  std::string bytes(reinterpret_cast<char*>(out), size);
  tjFree(out);
  tjDestroy(handle);
  return bytes;
}

inline std::string encode_jpeg(const Image& image, int sampling = TJSAMP_444, int flags = 0) {
  return encode_jpeg(image.pixels.data(), image.width, image.height, TJPF_RGB, sampling, flags);
}

// `rows`: packed as the colour type and depth ask. `decorate` adds PLTE or tRNS.
template <class Decorate>
std::string encode_png(int width, int height, int colour_type, int depth, const std::vector<uint8_t>& rows,
                       int interlace, Decorate decorate) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto append = [](png_structp p, png_bytep data, size_t size) {
    static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), size);
  };
  png_set_write_fn(png, &bytes, append, nullptr);
  png_set_IHDR(png, info, png_uint_32(width), png_uint_32(height), depth, colour_type, interlace, 0, 0);
  decorate(png, info);
  png_write_info(png, info);
  const size_t stride = rows.size() / size_t(height);
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y)
    pointers.push_back(const_cast<png_bytep>(rows.data() + size_t(y) * stride));
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

inline std::string encode_png(int width, int height, int colour_type, int depth,
                              const std::vector<uint8_t>& rows, int interlace = PNG_INTERLACE_NONE) {
  return encode_png(width, height, colour_type, depth, rows, interlace, [](png_structp, png_infop) {});
}

inline std::string encode_png(const Image& image) {
  return encode_png(image.width, image.height, PNG_COLOR_TYPE_RGB, 8, image.pixels);
}

// The largest difference of two pictures of one size; 256 where their sizes differ.
inline int difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height || a.pixels.size() != b.pixels.size()) return 256;
  int most = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) most = std::max(most, std::abs(a.pixels[i] - b.pixels[i]));
  return most;
}

// Runs `action`, which must throw Error with this code; returns its text.
template <class Action>
std::string expect_error(ErrorCode code, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace fewshift::testing_support
