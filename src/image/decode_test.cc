// Decoding of every kind of JPEG and PNG, and of files that are none.
// SPDX-License-Identifier: Apache-2.0
#include "image/decode.h"

#include <webp/encode.h>

#include "image/colour_mode.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

std::string insert_segment(const std::string& jpeg, int marker, const std::string& content) {
  const size_t length = content.size() + 2;
  std::string segment = {'\xFF', char(marker), char(length >> 8), char(length & 255)};
  return jpeg.substr(0, 2) + segment + content + jpeg.substr(2);
}

// EXIF as a camera writes it, with one entry before the orientation.
std::string exif_of(int orientation, bool little) {
  const auto number = [&](unsigned value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(value >> 8 * (little ? i : bytes - 1 - i) & 255);
    return out;
  };
  std::string tiff = (little ? "II" : "MM") + number(42, 2) + number(8, 4) + number(2, 2);
  tiff += number(0x0100, 2) + number(4, 2) + number(1, 4) + number(640, 4);
  tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + number(0, 2);
  return tiff + number(0, 4);
}

std::string with_orientation(const std::string& jpeg, int orientation, bool little) {
  return insert_segment(jpeg, 0xE1, std::string("Exif\0\0", 6) + exif_of(orientation, little));
}

// What each orientation makes of the quarters.
constexpr const char* kTurned[] = {"rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb"};

// Which of the quarters' colours each quarter of `image` shows: r, g, b or w, in reading order.
std::string corners(const Image& image) {
  std::string out;
  for (int i = 0; i < 4; ++i) {
    const int x = (i % 2 * 2 + 1) * image.width / 4, y = (i / 2 * 2 + 1) * image.height / 4;
    const uint8_t* p = &image.pixels[(size_t(y) * image.width + x) * 3];
    out += p[0] > 128 ? (p[1] > 128 ? 'w' : 'r') : (p[1] > 128 ? 'g' : 'b');
  }
  return out;
}

std::string encode_webp(const Image& image, bool lossless) {
  uint8_t* out = nullptr;
  const uint8_t* const pixels = image.pixels.data();
  const int w = image.width, h = image.height;
  const size_t size = lossless ? WebPEncodeLosslessRGB(pixels, w, h, w * 3, &out)
                               : WebPEncodeRGB(pixels, w, h, w * 3, 95, &out);
  EXPECT_GT(size, 0u);
  const std::string bytes(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  return bytes;
}

std::string little_endian(size_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(value >> 8 * i & 255);
  return out;
}
std::string chunk(const std::string& name, const std::string& content) {
  return name + little_endian(content.size(), 4) + content + std::string(content.size() % 2, '\0');
}

// The picture's chunk, as it is or as a frame, and more behind it, in WebP's extended form.
std::string extended_webp(const Image& image, int flags, const std::string& more, bool frame = false) {
  std::string picture = encode_webp(image, true).substr(12);
  const std::string size = little_endian(image.width - 1, 3) + little_endian(image.height - 1, 3);
  if (frame)
    picture = chunk("ANIM", std::string(6, '\0')) +
              chunk("ANMF", std::string(6, '\0') + size + std::string(4, '\0') + picture);
  return chunk("RIFF", "WEBP" + chunk("VP8X", little_endian(flags, 4) + size) + picture + more);
}

void only_errors(const std::string& bytes) {
  for (int min_side : {0, 5}) {
    try {
      const Image image = decode_image(bytes, "mutated", min_side);
      ASSERT_EQ(image.pixels.size(), size_t(image.width) * image.height * 3);
    } catch (const Error& error) {
      ASSERT_FALSE(contains(error.what(), "\n"));
    }
  }
}

std::vector<std::string> valid_files() {
  const Image image = noise(29, 21, 1);
  const std::vector<uint8_t> cmyk(29 * 21 * 4, 77);
  return {
      encode_jpeg(image),
      encode_jpeg(image, TJSAMP_420, TJFLAG_PROGRESSIVE),
      encode_jpeg(cmyk.data(), 29, 21, TJPF_CMYK),
      with_orientation(encode_jpeg(image, TJSAMP_GRAY), 6, true),
      encode_png(image),
      encode_webp(image, false),
      extended_webp(image, 8, chunk("EXIF", exif_of(6, true))),
      encode_png(29, 21, PNG_COLOR_TYPE_GRAY, 1, std::vector<uint8_t>(4 * 21, 0x5A), PNG_INTERLACE_ADAM7)};
}

TEST(DecodeJpeg, BaselineAndProgressiveAgree) {
  const Image image = quarters(48, 32);
  const Image baseline = decode_image(encode_jpeg(image), "a");
  EXPECT_LE(difference(baseline, image), 6);
  EXPECT_EQ(difference(decode_image(encode_jpeg(image, TJSAMP_444, TJFLAG_PROGRESSIVE), "b"), baseline), 0);
  EXPECT_EQ(corners(decode_image(encode_jpeg(image, TJSAMP_420), "c")), "rgbw");
}

TEST(DecodeJpeg, Grey) {
  const Image grey = decode_image(encode_jpeg(flat(9, 7, 90, 90, 90), TJSAMP_GRAY), "grey");
  EXPECT_LE(difference(grey, flat(9, 7, 90, 90, 90)), 1);
}

TEST(DecodeJpeg, AdobeCmykIsInverted) {
  std::vector<uint8_t> light;
  for (int i = 0; i < 16 * 16; ++i) light.insert(light.end(), {200, 100, 50, 255});
  const std::string bytes = encode_jpeg(light.data(), 16, 16, TJPF_CMYK);
  EXPECT_LE(difference(decode_image(bytes, "cmyk"), flat(16, 16, 200, 100, 50)), 3);
  for (uint8_t& value : light) value = value == 255 ? 128 : value;
  const std::string darker = encode_jpeg(light.data(), 16, 16, TJPF_CMYK);
  EXPECT_LE(difference(decode_image(darker, "cmyk"), flat(16, 16, 100, 50, 25)), 3);
}

TEST(DecodeJpeg, CmykWithoutAdobeMarkerIsInk) {
  // Without its marker a YCCK file reads as CMYK: of a neutral colour Y becomes C, and M and Y are 128.
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 16 * 16; ++i) pixels.insert(pixels.end(), {55, 55, 55, 51});  // Y: 255 - 55
  std::string bytes = encode_jpeg(pixels.data(), 16, 16, TJPF_CMYK);
  const size_t adobe = bytes.find("Adobe");
  ASSERT_NE(adobe, std::string::npos);
  bytes.erase(adobe - 4, 16);
  EXPECT_LE(difference(decode_image(bytes, "ink"), flat(16, 16, 44, 102, 102)), 2);
}

TEST(DecodeJpeg, EveryOrientation) {
  const std::string jpeg = encode_jpeg(quarters(48, 32));
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (bool little : {false, true}) {
      const Image image = decode_image(with_orientation(jpeg, orientation, little), "turned");
      EXPECT_EQ(corners(image), kTurned[orientation - 1]) << orientation;
      EXPECT_EQ(image.width, orientation < 5 ? 48 : 32);
      EXPECT_EQ(image.height, orientation < 5 ? 32 : 48);
    }
  }
}

TEST(DecodeJpeg, OrientationKeepsEveryPixel) {
  const std::string jpeg = encode_jpeg(noise(13, 9, 3));
  const Image stored = decode_image(jpeg, "a");
  const Image turned = decode_image(with_orientation(jpeg, 6, true), "b");  // a quarter clockwise
  for (int y = 0; y < 13; ++y) {
    for (int x = 0; x < 9; ++x) {
      for (int c = 0; c < 3; ++c) {
        ASSERT_EQ(turned.pixels[(y * 9 + x) * 3 + c], stored.pixels[((8 - x) * 13 + y) * 3 + c]);
      }
    }
  }
}

TEST(DecodeJpeg, SenselessExifIsIgnored) {
  const std::string jpeg = encode_jpeg(quarters(48, 32));
  for (int orientation : {0, 9, 65535}) {
    EXPECT_EQ(corners(decode_image(with_orientation(jpeg, orientation, true), "odd")), "rgbw");
  }
  std::string exif = std::string("Exif\0\0II*\0", 10);
  for (const char* rest : {"", "\xFF\xFF\xFF\xFF", "\x08"}) {
    EXPECT_EQ(corners(decode_image(insert_segment(jpeg, 0xE1, exif + rest), "odd")), "rgbw");
  }
}

TEST(DecodeJpeg, SmallerScaleKeepsMinSide) {
  const std::string jpeg = encode_jpeg(quarters(400, 300));
  const auto short_side = [&](int min_side) { return decode_image(jpeg, "scaled", min_side).height; };
  EXPECT_EQ(short_side(0), 300);
  EXPECT_EQ(short_side(151), 300);
  EXPECT_EQ(short_side(150), 150);
  EXPECT_EQ(short_side(75), 75);
  EXPECT_EQ(short_side(1), 38);
  EXPECT_EQ(short_side(1000), 300);
  EXPECT_EQ(corners(decode_image(jpeg, "scaled", 40)), "rgbw");
}

TEST(DecodePng, EveryColourType) {
  const Image grey = flat(5, 4, 200, 200, 200), colour = flat(5, 4, 10, 120, 250);
  const auto repeat = [](std::vector<uint8_t> pixel) {
    std::vector<uint8_t> rows;
    for (int i = 0; i < 20; ++i) rows.insert(rows.end(), pixel.begin(), pixel.end());
    return rows;
  };
  const auto read = [](int type, int depth, const std::vector<uint8_t>& rows, int interlace = 0) {
    return decode_image(encode_png(5, 4, type, depth, rows, interlace), "png");
  };
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_GRAY, 8, repeat({200})), grey), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_GRAY, 16, repeat({200, 255})), grey), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_GRAY_ALPHA, 8, repeat({200, 3})), grey), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_RGB, 8, repeat({10, 120, 250})), colour), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_RGB, 16, repeat({10, 9, 120, 8, 250, 7})), colour), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_RGB_ALPHA, 8, repeat({10, 120, 250, 0})), colour), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_RGB_ALPHA, 8, repeat({10, 120, 250, 99}), 1), colour), 0);
  EXPECT_EQ(
      difference(read(PNG_COLOR_TYPE_GRAY, 1, std::vector<uint8_t>(4, 0xFF)), flat(5, 4, 255, 255, 255)), 0);
  EXPECT_EQ(difference(read(PNG_COLOR_TYPE_GRAY, 4, std::vector<uint8_t>(12, 0x55)), flat(5, 4, 85, 85, 85)),
            0);
}

TEST(DecodePng, PaletteWithTransparency) {
  const auto decorate = [](png_structp png, png_infop info) {
    png_color palette[2] = {{1, 2, 3}, {40, 50, 60}};
    png_byte alpha[2] = {255, 0};
    png_set_PLTE(png, info, palette, 2);
    png_set_tRNS(png, info, alpha, 2, nullptr);
  };
  const std::vector<uint8_t> rows(4 * 2, 0x55);  // four entries of 2 bits a byte, all 1
  const std::string bytes = encode_png(8, 4, PNG_COLOR_TYPE_PALETTE, 2, rows, PNG_INTERLACE_NONE, decorate);
  EXPECT_EQ(difference(decode_image(bytes, "palette"), flat(8, 4, 40, 50, 60)), 0);
}

TEST(DecodePng, EveryOrientation) {
  const Image image = quarters(48, 32);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (bool little : {false, true}) {
      std::string exif = exif_of(orientation, little);
      const auto decorate = [&](png_structp png, png_infop info) {
        png_set_eXIf_1(png, info, png_uint_32(exif.size()), reinterpret_cast<png_bytep>(exif.data()));
      };
      std::string png = encode_png(48, 32, PNG_COLOR_TYPE_RGB, 8, image.pixels, PNG_INTERLACE_NONE, decorate);
      EXPECT_EQ(corners(decode_image(png, "turned")), kTurned[orientation - 1]) << orientation;
      // The chunk may stand behind the pixels.
      const size_t at = png.find("eXIf") - 4, length = exif.size() + 12;
      const std::string chunk = png.substr(at, length);
      png.erase(at, length).insert(png.size() - 12, chunk);
      const Image turned = decode_image(png, "turned");
      EXPECT_EQ(corners(turned), kTurned[orientation - 1]) << orientation;
      EXPECT_EQ(turned.width, orientation < 5 ? 48 : 32);
    }
  }
}

TEST(DecodePng, InterlacedNoiseIsExact) {
  const Image image = noise(19, 23, 8);
  const std::string bytes = encode_png(19, 23, PNG_COLOR_TYPE_RGB, 8, image.pixels, PNG_INTERLACE_ADAM7);
  EXPECT_EQ(difference(decode_image(bytes, "adam7"), image), 0);
}

TEST(DecodeWebp, LossyLosslessAndAlpha) {
  const Image image = quarters(48, 32), random = noise(19, 23, 8);
  EXPECT_LE(difference(decode_image(encode_webp(flat(48, 32, 200, 90, 30), false), "lossy"),
                       flat(48, 32, 200, 90, 30)),
            4);
  EXPECT_EQ(corners(decode_image(encode_webp(image, false), "lossy")), "rgbw");
  EXPECT_EQ(difference(decode_image(encode_webp(random, true), "lossless"), random), 0);
  std::vector<uint8_t> rgba;
  for (size_t i = 0; i < random.pixels.size(); i += 3) {
    rgba.insert(rgba.end(), &random.pixels[i], &random.pixels[i] + 3);
    rgba.push_back(static_cast<uint8_t>(i % 255 + 1));
  }
  uint8_t* out = nullptr;
  const size_t size = WebPEncodeLosslessRGBA(rgba.data(), 19, 23, 19 * 4, &out);
  const std::string bytes(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  EXPECT_EQ(difference(decode_image(bytes, "alpha"), random), 0);  // dropped, as a PNG's
  EXPECT_EQ(colour_mode(bytes, "alpha"), "RGB + alpha");
  EXPECT_EQ(colour_mode(encode_webp(image, false), "lossy"), "RGB");
}

TEST(DecodeWebp, EveryOrientation) {
  const Image image = quarters(48, 32);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const std::string& head : {std::string(), std::string("Exif\0\0", 6)}) {
      const std::string exif = chunk("EXIF", head + exif_of(orientation, orientation % 2 == 0));
      const Image turned = decode_image(extended_webp(image, 8, exif), "turned");
      EXPECT_EQ(corners(turned), kTurned[orientation - 1]) << orientation;
      EXPECT_EQ(turned.width, orientation < 5 ? 48 : 32);
    }
  }
}

TEST(DecodeWebp, AnimationsAndHugePicturesAreRefused) {
  const std::string moving = extended_webp(quarters(8, 6), 2, "", true);
  EXPECT_TRUE(contains(expect_error(ErrorCode::kUnsupported, [&] { decode_image(moving, "moving.webp"); }),
                       "moving.webp: an animated WebP is not read"));
  std::string huge = encode_webp(quarters(8, 6), true);
  const size_t size = huge.find("VP8L") + 9;  // 14 bits of the width less 1, 14 of the height
  huge[size] = huge[size + 1] = huge[size + 2] = '\xFF', huge[size + 3] = char(huge[size + 3] | 15);
  EXPECT_TRUE(contains(expect_error(ErrorCode::kUnsupported, [&] { decode_image(huge, "huge.webp"); }),
                       "huge.webp: 16384 x 16384 is over 2^27 pixels"));
}

TEST(Decode, EmptyAndForeignFiles) {
  EXPECT_EQ(expect_error(ErrorCode::kCorrupt, [] { decode_image("", "x.jpg"); }), "x.jpg: the file is empty");
  EXPECT_TRUE(contains(expect_error(ErrorCode::kUnsupported, [] { decode_image("GIF89a..", "x.gif"); }),
                       "none of JPEG, PNG and WebP"));
  expect_error(ErrorCode::kCorrupt, [] { decode_image("\xFF\xD8", "x.jpg"); });
  expect_error(ErrorCode::kCorrupt, [] { decode_image("\xFF\xD8\xFF", "x.jpg"); });
  expect_error(ErrorCode::kCorrupt, [] { decode_image("\x89PNG\r\n\x1A\n", "x.png"); });
  expect_error(ErrorCode::kUnsupported, [] { decode_image(std::string("RIFF\0\0\0\0WAVE", 12), "x.wav"); });
}

TEST(Decode, TruncatedFilesAreCorrupt) {
  for (const std::string& bytes : valid_files()) {
    for (size_t length = 0; length < bytes.size() - 1; length += 10) {
      expect_error(ErrorCode::kCorrupt, [&] { decode_image(bytes.substr(0, length), "cut"); });
    }
    expect_error(ErrorCode::kCorrupt, [&] { decode_image(bytes.substr(0, bytes.size() - 1), "cut"); });
  }
}

TEST(Decode, HarmlessWarningIsNoError) {
  std::string jpeg = encode_jpeg(quarters(48, 32));
  jpeg.insert(jpeg.size() - 2, "junk");  // "extraneous bytes before marker"
  EXPECT_EQ(corners(decode_image(jpeg, "junk")), "rgbw");
}

TEST(Decode, LyingSizes) {
  std::string jpeg = encode_jpeg(quarters(16, 16));
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  const auto jpeg_of = [&](int width, int height) {
    std::string out = jpeg;
    out[frame + 5] = char(height >> 8), out[frame + 6] = char(height);
    out[frame + 7] = char(width >> 8), out[frame + 8] = char(width);
    return out;
  };
  expect_error(ErrorCode::kUnsupported, [&] { decode_image(jpeg_of(65000, 65000), "huge"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(jpeg_of(11000, 12000), "lies"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(jpeg_of(1000, 1000), "lies"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(jpeg_of(0, 16), "lies"); });
}

TEST(Decode, LyingPngSizes) {
  const auto png_of = [](png_uint_32 width, png_uint_32 height) {
    std::string out = encode_png(quarters(16, 16));
    auto* header = reinterpret_cast<png_bytep>(out.data()) + 12;  // IHDR: type, width, height, ...
    png_save_uint_32(header + 4, width);
    png_save_uint_32(header + 8, height);
    uint32_t crc = ~0u;
    for (int i = 0; i < 17; ++i) {
      crc ^= header[i];
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    }
    png_save_uint_32(header + 17, ~crc);
    return out;
  };
  EXPECT_EQ(corners(decode_image(png_of(16, 16), "true")), "rgbw");
  expect_error(ErrorCode::kUnsupported, [&] { decode_image(png_of(0x7FFFFFFF, 0x7FFFFFFF), "huge"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(png_of(11000, 12000), "lies"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(png_of(60, 60), "lies"); });
  expect_error(ErrorCode::kCorrupt, [&] { decode_image(png_of(0, 16), "lies"); });
}

TEST(Decode, MutatedFilesThrowOnlyError) {
  Random random{5};
  for (const std::string& bytes : valid_files()) {
    for (int round = 0; round < 150; ++round) {
      std::string mutated = bytes;
      for (uint64_t n = random.below(6) + 1; n > 0; --n) {
        mutated[random.below(mutated.size())] = char(random.below(256));
      }
      if (random.chance(0.2)) mutated.erase(random.below(mutated.size()), random.below(20));
      only_errors(mutated);
    }
  }
}

TEST(LoadImage, ReadsAFileAndNamesItInErrors) {
  const TemporaryFolder folder;
  EXPECT_EQ(load_image(folder.write("a.PNG", encode_png(quarters(8, 6)))).width, 8);
  const auto empty = folder.write("empty.jpg", "");
  EXPECT_TRUE(
      contains(expect_error(ErrorCode::kCorrupt, [&] { load_image(empty); }), "empty.jpg: the file is"));
  expect_error(ErrorCode::kNotFound, [&] { load_image(folder.path() / "none.jpg"); });
}

TEST(HasImageExtension, AnyCase) {
  for (const char* name : {"a.jpg", "a.JPG", "b/c.Jpeg", "x.y.png", "x.PNG", "x.webp"}) {
    EXPECT_TRUE(has_image_extension(name)) << name;
  }
  for (const char* name : {"a", "a.gif", "jpg", ".jpg", "a.jpg/b", "a.png.txt"}) {
    EXPECT_FALSE(has_image_extension(name)) << name;
  }
}

}  // namespace
}  // namespace fewshift
