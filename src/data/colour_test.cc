// Colours against Pillow 13's figures, and at the edges.
// SPDX-License-Identifier: Apache-2.0
#include "data/colour.h"

#include <array>

#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

using Pixels = std::vector<uint8_t>;

Image sample() {
  return {4, 3, {12, 200, 90,  255, 255, 255, 0,  0,  0,   33, 66,  99,  250, 10, 20, 128, 128, 128,
                 5,  180, 240, 77,  77,  10,  90, 45, 180, 1,  254, 127, 64,  32, 16, 220, 210, 30}};
}

template <class... Arguments>
Image changed(void (*change)(Image&, Arguments...), Image image, Arguments... arguments) {
  change(image, arguments...);
  return image;
}

// The difference to what Pillow gives of sample().
template <class Change>
int against_pillow(Change change, float factor, const Pixels& pillow) {
  return difference(changed<float>(change, sample(), factor), {4, 3, pillow});
}

TEST(Colour, BrightnessAsPillow) {
  EXPECT_LE(against_pillow(change_brightness, 0.4f,
                           {4, 80, 36, 102, 102, 102, 0,  0,  0,  13, 26,  39, 100, 4,  8, 51, 51, 51,
                            2, 72, 96, 30,  30,  4,   36, 18, 72, 0,  101, 50, 25,  12, 6, 88, 84, 12}),
            1);
  EXPECT_LE(
      against_pillow(change_brightness, 1.7f,
                     {20, 255, 153, 255, 255, 255, 0,   0,  0,   56, 112, 168, 255, 17, 34, 217, 217, 217,
                      8,  255, 255, 130, 130, 17,  153, 76, 255, 1,  255, 215, 108, 54, 27, 255, 255, 51}),
      1);
}

TEST(Colour, ContrastAsPillow) {
  EXPECT_LE(against_pillow(change_contrast, 0.4f, {71,  146, 102, 168, 168, 168, 66, 66,  66,  79,  93,  106,
                                                   166, 70,  74,  117, 117, 117, 68, 138, 162, 97,  97,  70,
                                                   102, 84,  138, 67,  168, 117, 92, 79,  73,  154, 150, 78}),
            1);
  EXPECT_LE(against_pillow(change_contrast, 1.7f,
                           {0, 255, 75,  255, 255, 255, 0,  0, 0,   0, 34,  90,  255, 0, 0, 139, 139, 139,
                            0, 228, 255, 53,  53,  0,   75, 0, 228, 0, 255, 138, 31,  0, 0, 255, 255, 0}),
            1);
}

TEST(Colour, SaturationAsPillow) {
  EXPECT_LE(
      against_pillow(change_saturation, 0.4f,
                     {83, 158, 114, 255, 255, 255, 0,  0,  0,   49, 62,  75,  149, 53, 57, 128, 128, 128,
                      83, 153, 177, 72,  72,  45,  80, 62, 116, 98, 200, 149, 49,  36, 30, 203, 199, 127}),
      1);
  EXPECT_LE(against_pillow(change_saturation, 1.7f,
                           {0, 248, 61,  255, 255, 255, 0,   0,  0,   14, 70,  126, 255, 0,  0, 128, 128, 128,
                            0, 211, 255, 82,  82,  0,   101, 24, 254, 0,  255, 101, 80,  26, 0, 239, 222, 0}),
            1);
}

TEST(Colour, SharpnessAsPillow) {
  EXPECT_LE(
      against_pillow(change_sharpness, 0.4f,
                     {12, 200, 90,  255, 255, 255, 0,  0,  0,   33, 66,  99,  250, 10, 20, 111, 125, 123,
                      39, 160, 181, 77,  77,  10,  90, 45, 180, 1,  254, 127, 64,  32, 16, 220, 210, 30}),
      1);
  EXPECT_LE(
      against_pillow(change_sharpness, 1.7f,
                     {12, 200, 90,  255, 255, 255, 0,  0,  0,   33, 66,  99,  250, 10, 20, 146, 130, 132,
                      0,  202, 255, 77,  77,  10,  90, 45, 180, 1,  254, 127, 64,  32, 16, 220, 210, 30}),
      1);
}

TEST(Colour, FactorOneLeavesThePictureAndZeroTheDullOne) {
  const Image image = noise(9, 7, 1), grey = flat(5, 5, 90, 90, 90);
  for (auto* change : {change_brightness, change_contrast, change_saturation, change_sharpness}) {
    EXPECT_EQ(difference(changed<float>(change, image, 1), image), 0);
    EXPECT_EQ(changed<float>(change, flat(1, 1, 9, 9, 9), 1.9f).width, 1);
    if (change != change_brightness) {
      EXPECT_EQ(difference(changed<float>(change, grey, 0.1f), grey), 0);
    }
  }
  EXPECT_EQ(difference(changed<float>(change_brightness, image, 0), flat(9, 7, 0, 0, 0)), 0);
  const Image dull = changed<float>(change_contrast, image, 0);
  EXPECT_EQ(difference(dull, flat(9, 7, dull.pixels[0], dull.pixels[0], dull.pixels[0])), 0);
  const Image colourless = changed<float>(change_saturation, flat(2, 2, 200, 100, 50), 0);
  EXPECT_EQ(difference(colourless, flat(2, 2, 124, 124, 124)),
            0);  // 0.299 200 + 0.587 100 + 0.114 50 = 124.2
}

TEST(Colour, SharpnessLeavesTheEdge) {
  for (const auto& [w, h] : {std::pair(1, 1), std::pair(2, 9), std::pair(9, 2), std::pair(1, 5)}) {
    EXPECT_EQ(difference(changed<float>(change_sharpness, noise(w, h, 2), 0), noise(w, h, 2)), 0);
  }
  // A lone bright pixel keeps 5 of its 13 parts; its neighbour, if not on the edge, gets one.
  Image dot = flat(5, 4, 0, 0, 0);
  dot.pixels[(1 * 5 + 1) * 3] = 130;
  change_sharpness(dot, 0);
  EXPECT_EQ(dot.pixels[(1 * 5 + 1) * 3], 50);
  EXPECT_EQ(dot.pixels[(2 * 5 + 2) * 3], 10);
  EXPECT_EQ(dot.pixels[(0 * 5 + 1) * 3], 0);
  EXPECT_EQ(dot.pixels[(1 * 5 + 3) * 3], 0);
  EXPECT_EQ(dot.pixels[(1 * 5 + 1) * 3 + 1], 0);
}

TEST(Colour, PosterizeKeepsTheUpperBits) {
  for (int bits = 1; bits <= 8; ++bits) {
    const int step = 1 << (8 - bits);
    const Image image = noise(8, 8, 3), out = changed<int>(posterize, image, bits);
    for (size_t i = 0; i < out.pixels.size(); ++i) {
      EXPECT_EQ(out.pixels[i], image.pixels[i] / step * step);
    }
  }
}

TEST(Colour, SolarizeTurnsWhatIsBright) {
  const Image image{2, 1, {0, 127, 128, 129, 254, 255}};
  EXPECT_EQ(changed<double>(solarize, image, 128).pixels, (Pixels{0, 127, 127, 126, 1, 0}));
  EXPECT_EQ(changed<double>(solarize, image, 127.5).pixels, (Pixels{0, 127, 127, 126, 1, 0}));
  EXPECT_EQ(changed<double>(solarize, image, 0).pixels, (Pixels{255, 128, 127, 126, 1, 0}));
  EXPECT_EQ(changed<double>(solarize, image, 256).pixels, image.pixels);
}

TEST(Colour, AutocontrastAsPillow) {
  Image image = sample();
  for (uint8_t& value : image.pixels) value = uint8_t(value / 3 + 50);
  autocontrast(image);
  EXPECT_EQ(image.pixels,
            (Pixels{12, 198, 90,  255, 255, 255, 0,  0,  0,   33, 66,  99,  249, 9,  18, 126, 126, 126,
                    3,  180, 240, 75,  75,  9,   90, 45, 180, 0,  252, 126, 63,  30, 15, 219, 210, 30}));
}

TEST(Colour, EqualizeAsPillow) {
  constexpr std::array kLevels = {10, 11, 40, 200, 201, 250}, kCounts = {100, 7, 300, 50, 143, 200},
                       kPillow = {0, 50, 54, 204, 229, 255};
  Image image{800, 1, {}}, expected{800, 1, {}};
  for (size_t i = 0; i < kLevels.size(); ++i) {
    for (int n = 0; n < kCounts[i]; ++n) {
      for (int v : {kLevels[i], 7, kLevels[i]}) image.pixels.push_back(uint8_t(v));
      for (int v : {kPillow[i], 7, kPillow[i]}) expected.pixels.push_back(uint8_t(v));
    }
  }
  EXPECT_EQ(difference(changed(equalize, image), expected), 0);
}

TEST(Colour, HistogramOperationsLeaveConstantChannels) {
  for (const auto& image : {flat(30, 30, 0, 128, 255), flat(1, 1, 1, 2, 3), Image{}}) {
    EXPECT_EQ(difference(changed(autocontrast, image), image), 0);
    EXPECT_EQ(difference(changed(equalize, image), image), 0);
  }
  const Image few = noise(5, 5, 4);  // too few pixels for a step of a 255th
  EXPECT_EQ(difference(changed(equalize, few), few), 0);
}

TEST(Colour, EqualizeFlattensTheHistogram) {
  Image image = noise(100, 100, 5);
  for (uint8_t& value : image.pixels) value = uint8_t(100 + value / 16);
  equalize(image);
  std::array<int, 4> quarters{};
  for (size_t i = 0; i < image.pixels.size(); i += 3) ++quarters[image.pixels[i] / 64];
  for (int n : quarters) EXPECT_NEAR(n, 2500, 700);
}

}  // namespace
}  // namespace fewshift
