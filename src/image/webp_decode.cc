// Decodes a WebP of one picture, lossy or lossless, to upright 8-bit RGB.
// SPDX-License-Identifier: Apache-2.0
#include "image/webp_decode.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "core/error.h"
#include "image/fields.h"
#include "image/limits.h"
#include "image/orientation.h"

namespace fewshift {
namespace {

void check_status(VP8StatusCode status, const std::string& where) {
  switch (status) {
    case VP8_STATUS_OK:
      return;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw std::bad_alloc();
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      throw Error(ErrorCode::kCorrupt, where, "the WebP is cut short");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      throw Error(ErrorCode::kUnsupported, where, "the WebP is of a kind that libwebp does not read");
    default:
      throw Error(ErrorCode::kCorrupt, where, "the WebP cannot be decoded: it is damaged");
  }
}

// In an EXIF chunk, before or behind the picture; 1 where there is none.
int orientation_of(const WebPData& file) {
  struct Delete {
    void operator()(WebPDemuxer* chunks) const { WebPDemuxDelete(chunks); }
  };
  const std::unique_ptr<WebPDemuxer, Delete> chunks(WebPDemux(&file));
  WebPChunkIterator exif;
  if (!chunks || !WebPDemuxGetChunk(chunks.get(), "EXIF", 1, &exif)) return 1;
  const int orientation =
      exif_orientation({reinterpret_cast<const char*>(exif.chunk.bytes), exif.chunk.size});
  WebPDemuxReleaseChunkIterator(&exif);
  return orientation;
}

}  // namespace

Image decode_webp(std::string_view bytes, const std::string& where) {
  const WebPData file{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config))
    throw Error(ErrorCode::kUnsupported, where, "the libwebp here is of another version");
  check_status(WebPGetFeatures(file.bytes, file.size, &config.input), where);
  if (config.input.has_animation)
    throw Error(ErrorCode::kUnsupported, where,
                "an animated WebP is not read: save the frame that is meant as a picture of its own");
  if (Fields{bytes, true}.get(4, 4).value_or(0) > bytes.size() - 8)  // before memory is taken
    check_status(VP8_STATUS_NOT_ENOUGH_DATA, where);
  Image image;
  image.width = config.input.width, image.height = config.input.height;
  if (int64_t{image.width} * image.height > kMaxPixels) {
    throw Error(ErrorCode::kUnsupported, where,
                std::to_string(image.width) + " x " + std::to_string(image.height) + " is over 2^27 pixels");
  }
  image.pixels.resize(size_t(image.width) * image.height * 3);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {image.pixels.data(), image.width * 3, image.pixels.size()};
  check_status(WebPDecode(file.bytes, file.size, &config), where);
  return upright(std::move(image), orientation_of(file));
}

}  // namespace fewshift
