// RandAugment: where pixels go, against Pillow 13's figures; what is drawn, and how often.
// SPDX-License-Identifier: Apache-2.0
#include "data/rand_augment.h"

#include <array>
#include <set>

#include "data/colour.h"
#include "image/resize.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

Image applied(RandOperation operation, double magnitude, bool negative, Image image) {
  apply(operation, magnitude, negative, image);
  return image;
}

// A picture of 8 x 5 whose values are given, the same in all channels.
Image grey(const std::vector<int>& values) {
  Image image{8, 5, {}};
  for (int v : values) image.pixels.insert(image.pixels.end(), 3, uint8_t(v));
  return image;
}

// 1 to 40 in reading order.
Image counting() {
  std::vector<int> values;
  for (int v = 1; v <= 40; ++v) values.push_back(v);
  return grey(values);
}

int against_pillow(RandOperation operation, double magnitude, bool negative, const std::vector<int>& values) {
  return difference(applied(operation, magnitude, negative, counting()), grey(values));
}

TEST(RandAugment, ShearsAsPillow) {
  EXPECT_EQ(against_pillow(RandOperation::kShearX, 10, false,
                           {1,  2,  3,  4, 5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21,
                            22, 23, 24, 0, 26, 27, 28, 29, 30, 31, 32, 0,  34, 35, 36, 37, 38, 39, 40, 0}),
            0);
  EXPECT_EQ(against_pillow(RandOperation::kShearX, 10, true,
                           {1,  2,  3,  4,  5, 6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 0,  17, 18, 19,
                            20, 21, 22, 23, 0, 25, 26, 27, 28, 29, 30, 31, 0,  33, 34, 35, 36, 37, 38, 39}),
            0);
  EXPECT_EQ(against_pillow(RandOperation::kShearY, 7, false,
                           {1,  2,  11, 12, 13, 14, 15, 24, 9,  10, 19, 20, 21, 22, 23, 32, 17, 18, 27, 28,
                            29, 30, 31, 40, 25, 26, 35, 36, 37, 38, 39, 0,  33, 34, 0,  0,  0,  0,  0,  0}),
            0);
}

TEST(RandAugment, TranslatesByWholePixels) {
  for (const auto& [magnitude, side_share] :
       {std::pair(10.0, 1.0), std::pair(9.0, 0.9), std::pair(3.0, 0.3)}) {
    const Image image = noise(40, 31, 1);
    const int dx = int(150.0 / 331 * 40 * side_share), dy = int(150.0 / 331 * 31 * side_share);
    const auto moved = [&, m = magnitude](RandOperation operation, bool negative) {
      return applied(operation, m, negative, image);
    };
    EXPECT_EQ(difference(moved(RandOperation::kTranslateX, false), crop(image, -dx, 0, 40, 31)), 0);
    EXPECT_EQ(difference(moved(RandOperation::kTranslateX, true), crop(image, dx, 0, 40, 31)), 0);
    EXPECT_EQ(difference(moved(RandOperation::kTranslateY, false), crop(image, 0, -dy, 40, 31)), 0);
    EXPECT_EQ(difference(moved(RandOperation::kTranslateY, true), crop(image, 0, dy, 40, 31)), 0);
  }
}

TEST(RandAugment, RotatesAsPillow) {
  EXPECT_EQ(against_pillow(RandOperation::kRotate, 9, false,
                           {0,  0,  4,  5,  6, 15, 16, 0,  2,  3,  4,  13, 13, 22, 23, 32, 1,  10, 11, 20,
                            21, 30, 31, 40, 9, 18, 19, 28, 28, 37, 38, 39, 0,  25, 26, 35, 36, 37, 0,  0}),
            0);
  EXPECT_EQ(against_pillow(RandOperation::kRotate, 10, true,
                           {0,  17, 10, 11, 4, 5,  0,  0,  25, 18, 19, 12, 12, 5, 6,  0,  33, 26, 27, 20,
                            21, 14, 15, 8,  0, 35, 36, 29, 29, 22, 23, 16, 0,  0, 36, 37, 30, 31, 24, 0}),
            0);
}

TEST(RandAugment, MagnitudeZeroDoesNothing) {
  const Image image = [] {
    Image picture = noise(33, 20, 2);
    for (uint8_t& value : picture.pixels)
      value = std::min<uint8_t>(value, 254);  // white turns at any threshold
    return picture;
  }();
  for (int i = 0; i < kRandOperations; ++i) {
    const auto operation = RandOperation(i);
    if (operation == RandOperation::kAutocontrast || operation == RandOperation::kEqualize) continue;
    for (bool negative : {false, true})
      EXPECT_EQ(difference(applied(operation, 0, negative, image), image), 0) << i;
  }
}

TEST(RandAugment, StrengthsReachTheirEnds) {
  const Image image = noise(20, 20, 3);
  const auto expect = [&](RandOperation operation, double magnitude, bool negative, const Image& expected) {
    EXPECT_EQ(difference(applied(operation, magnitude, negative, image), expected), 0) << int(operation);
  };
  const auto enhanced = [&](void (*change)(Image&, float), float factor) {
    Image copy = image;
    change(copy, factor);
    return copy;
  };
  expect(RandOperation::kIdentity, 10, false, image);
  expect(RandOperation::kBrightness, 10, false, enhanced(change_brightness, 1.9f));
  expect(RandOperation::kBrightness, 5, true, enhanced(change_brightness, 0.55f));
  expect(RandOperation::kColour, 10, true, enhanced(change_saturation, 0.1f));
  expect(RandOperation::kContrast, 10, false, enhanced(change_contrast, 1.9f));
  expect(RandOperation::kSharpness, 10, true, enhanced(change_sharpness, 0.1f));
  Image copy = image;
  posterize(copy, 4);
  expect(RandOperation::kPosterize, 10, true, copy);
  copy = image;
  posterize(copy, 6);
  expect(RandOperation::kPosterize, 5, false, copy);
  copy = image;
  for (uint8_t& value : copy.pixels) value = uint8_t(255 - value);
  expect(RandOperation::kSolarize, 10, false, copy);
  copy = image;
  autocontrast(copy);
  expect(RandOperation::kAutocontrast, 3, false, copy);
  copy = image;
  equalize(copy);
  expect(RandOperation::kEqualize, 3, false, copy);
}

TEST(RandAugment, AnySizeKeepsItsSize) {
  for (const auto& [w, h] : {std::pair(1, 1), std::pair(1, 40), std::pair(40, 1), std::pair(2, 2)}) {
    for (int i = 0; i < kRandOperations; ++i) {
      for (bool negative : {false, true}) {
        const Image out = applied(RandOperation(i), 10, negative, noise(w, h, 4));
        EXPECT_TRUE(out.width == w && out.height == h && out.pixels.size() == size_t(w) * h * 3);
      }
    }
  }
  // The only pixel stays where it is.
  for (auto operation : {RandOperation::kShearX, RandOperation::kTranslateY, RandOperation::kRotate}) {
    EXPECT_EQ(difference(applied(operation, 10, true, noise(1, 1, 5)), noise(1, 1, 5)), 0);
  }
}

TEST(RandAugment, SeedAloneDecides) {
  std::set<std::string> seen;
  for (uint64_t key = 0; key < 100; ++key) {
    Image once = noise(24, 24, 6), again = once, none = once;
    Random first{key}, second{key}, third{key};
    rand_augment(once, 2, 9, first);
    rand_augment(again, 2, 9, second);
    rand_augment(none, 0, 9, third);
    EXPECT_EQ(difference(once, again), 0);
    EXPECT_EQ(difference(none, noise(24, 24, 6)), 0);
    EXPECT_EQ(third.next(), Random{key}.next());
    seen.emplace(once.pixels.begin(), once.pixels.end());
  }
  EXPECT_GE(seen.size(), 75u);
}

TEST(RandAugment, DrawsEveryOperationBothWaysAlike) {
  // Halved noise, of which no two operations make the same.
  Image image = noise(24, 24, 7);
  for (uint8_t& value : image.pixels) value /= 2;
  std::array<std::array<int, 2>, kRandOperations> counts{};
  for (uint64_t key = 0; key < 5600; ++key) {
    Image out = image;
    Random random{key, 8};
    rand_augment(out, 1, 10, random);
    bool found = false;
    for (int i = 0; i < 2 * kRandOperations && !found; ++i) {
      found = applied(RandOperation(i / 2), 10, i % 2 == 1, image).pixels == out.pixels;
      counts[i / 2][i % 2] += found;
    }
    EXPECT_TRUE(found);
  }
  for (int i = 0; i < kRandOperations; ++i) {
    const bool signed_one = i > 0 && i < int(RandOperation::kPosterize);
    EXPECT_NEAR(counts[i][0], signed_one ? 200 : 400, 75) << i;
    EXPECT_NEAR(counts[i][1], signed_one ? 200 : 0, signed_one ? 75 : 0) << i;
  }
}

}  // namespace
}  // namespace fewshift
