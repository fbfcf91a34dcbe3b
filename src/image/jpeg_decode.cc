// Decodes a JPEG at a fitting DCT scale, converts CMYK and turns the picture upright.
// SPDX-License-Identifier: Apache-2.0
#include "image/jpeg_decode.h"

#include <turbojpeg.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "core/error.h"
#include "image/jpeg_header.h"
#include "image/limits.h"
#include "image/orientation.h"

namespace fewshift {
namespace {

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};

void check_size(const JpegHeader& header, size_t file_size, const std::string& where) {
  const int64_t pixels = int64_t{header.width} * header.height;
  const std::string size = std::to_string(header.width) + " x " + std::to_string(header.height);
  if (pixels > kMaxPixels) throw Error(ErrorCode::kUnsupported, where, size + " is over 2^27 pixels");
  // Huffman coding spends at least a bit on a block of 64 pixels. Below 2^22 pixels nothing is lost by
  // trying.
  if (pixels > (int64_t{1} << 22) && pixels / 1024 > static_cast<int64_t>(file_size)) {
    throw Error(ErrorCode::kCorrupt, where,
                "its header says " + size + ", impossible in " + std::to_string(file_size) + " bytes");
  }
}

// The denominator of the smallest scale whose short side is at least `min_side`. Powers of two alone: the
// others are slower than decoding in full.
int scale_denominator(const JpegHeader& header, int min_side) {
  if (min_side <= 0) return 1;
  const int side = std::min(header.width, header.height);
  int denominator = 8;
  while (denominator > 1 && (side + denominator - 1) / denominator < min_side) denominator /= 2;
  return denominator;
}

void decompress(std::string_view bytes, const std::string& where, int format, int width, int height,
                uint8_t* out) {
  const std::unique_ptr<void, Destroy> handle(tjInitDecompress());
  if (!handle) throw std::bad_alloc();
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (tjDecompress2(handle.get(), data, bytes.size(), out, width, width * tjPixelSize[format], height, format,
                    TJFLAG_LIMITSCANS) == 0) {
    return;
  }
  std::string message = tjGetErrorStr2(handle.get());
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (tjGetErrorCode(handle.get()) != TJERR_WARNING) {
    const bool unsupported = message.find("nsupported") != std::string::npos;
    throw Error(unsupported ? ErrorCode::kUnsupported : ErrorCode::kCorrupt, where,
                "the JPEG cannot be decoded (" + message + ")");
  }
  // libjpeg keeps the text of its first warning alone; the missing end marker shows a cut behind another one.
  const bool ended =
      bytes.find("\xFF\xD9") != std::string_view::npos && bytes.rfind("\xFF\xD9") > bytes.rfind("\xFF\xDA");
  if (!ended || message.find("remature end") != std::string::npos) {
    throw Error(ErrorCode::kCorrupt, where, "the JPEG is cut short or damaged (" + message + ")");
  }
}

uint8_t multiply(int a, int b) {
  return static_cast<uint8_t>((a * b + 127) / 255);
}

// `cmyk` holds light (255: no ink) where inverted, ink otherwise.
void cmyk_to_rgb(const std::vector<uint8_t>& cmyk, bool inverted, std::vector<uint8_t>& rgb) {
  const int flip = inverted ? 0 : 255;
  for (size_t i = 0, n = cmyk.size() / 4; i < n; ++i) {
    const uint8_t* from = &cmyk[4 * i];
    for (int c = 0; c < 3; ++c) rgb[3 * i + c] = multiply(from[c] ^ flip, from[3] ^ flip);
  }
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& where, const Wanted& wanted) {
  const JpegHeader header = read_jpeg_header(bytes, where);
  check_size(header, bytes.size(), where);
  const bool turned = header.orientation >= 5;
  const int width = turned ? header.height : header.width, height = turned ? header.width : header.height;
  const int denominator = scale_denominator(header, wanted ? wanted(width, height) : 0);
  Image image;
  image.width = (header.width + denominator - 1) / denominator;
  image.height = (header.height + denominator - 1) / denominator;
  const size_t pixels = size_t(image.width) * image.height;
  image.pixels.resize(pixels * 3);
  if (header.components == 4) {
    std::vector<uint8_t> cmyk(pixels * 4);
    decompress(bytes, where, TJPF_CMYK, image.width, image.height, cmyk.data());
    cmyk_to_rgb(cmyk, header.adobe, image.pixels);
  } else {
    decompress(bytes, where, TJPF_RGB, image.width, image.height, image.pixels.data());
  }
  image = upright(std::move(image), header.orientation);
  if (denominator > 1) image.full_width = width, image.full_height = height;
  return image;
}

}  // namespace fewshift
