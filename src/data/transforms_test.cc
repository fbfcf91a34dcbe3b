// Augmentations: what each does, and that the key alone decides.
// SPDX-License-Identifier: Apache-2.0
#include "data/transforms.h"

#include <cmath>
#include <set>

#include "data/rand_augment.h"
#include "image/resize.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

Preprocess plain(int size, int resize) {
  Preprocess recipe;
  recipe.size = size;
  recipe.resize = resize;
  recipe.mean = {0, 0, 0};
  recipe.std = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
  return recipe;
}

// The augmented picture with values from 0 to 255.
std::vector<float> run(const Image& image, const Augment& options, const Preprocess& recipe, uint64_t key) {
  std::vector<float> out(size_t(recipe.size) * recipe.size * 3, NAN);
  augment(image, options, recipe, Random{key}, out.data());
  for (float value : out) EXPECT_TRUE(value >= -0.01f && value <= 255.01f);
  return out;
}

bool same(const std::vector<float>& out, const Image& image) {
  for (size_t i = 0; i < out.size(); ++i) {
    if (std::abs(out[i] - image.pixels[i]) > 0.01f) return false;
  }
  return out.size() == image.pixels.size();
}

TEST(Augment, NoneIsEvaluation) {
  const Image image = noise(23, 17, 1);
  const Preprocess recipe = plain(12, 14);
  std::vector<float> expected(12 * 12 * 3);
  preprocess(image, recipe, expected.data());
  EXPECT_EQ(run(image, {}, recipe, 1), expected);
  EXPECT_EQ(run(image, {}, recipe, 2), expected);
}

TEST(Augment, ResizesAsTheRecipeSays) {
  const Image image = noise(40, 40, 4);
  Preprocess recipe = plain(16, 16);
  recipe.interpolation = Interpolation::kBicubic;
  const Image bicubic = resize(image, 16, 16, Interpolation::kBicubic);
  EXPECT_TRUE(same(run(image, {}, recipe, 1), bicubic));
  EXPECT_TRUE(same(run(image, {.crop = "pad", .pad = 0}, recipe, 1), bicubic));
  EXPECT_FALSE(same(run(image, {}, plain(16, 16), 1), bicubic));
}

TEST(Augment, KeyAloneDecides) {
  const Image image = noise(40, 30, 2);
  for (const char* crop : {"none", "pad", "random_resized"}) {
    const Augment options{.crop = crop, .flip = true, .colour_jitter = 0.4};
    std::set<std::vector<float>> seen;
    for (uint64_t key = 0; key < 20; ++key) {
      const auto out = run(image, options, plain(16, 18), key);
      EXPECT_EQ(out, run(image, options, plain(16, 18), key));
      seen.insert(out);
    }
    EXPECT_GE(seen.size(), 19u) << crop;
  }
}

// The values of many augmented pictures in one number (FNV-1a).
uint64_t fingerprint(const Augment& options) {
  const Image image = noise(40, 30, 2);
  uint64_t hash = 0xCBF29CE484222325u;
  for (uint64_t key = 0; key < 50; ++key) {
    for (float value : run(image, options, plain(16, 18), key)) {
      hash = (hash ^ uint64_t(std::lround(value))) * 0x100000001B3u;
    }
  }
  return hash;
}

// Recorded before RandAugment and erasing were there: runs of older recipes repeat to the bit. x86-64 alone,
// as elsewhere a fused multiply-add may round a grey level otherwise.
TEST(Augment, OlderRecipesGiveTheSamePictures) {
#ifndef __x86_64__
  GTEST_SKIP();
#endif
  EXPECT_EQ(fingerprint({.crop = "none", .flip = true, .colour_jitter = 0.4}), 0x385B68C412DF19FEu);
  EXPECT_EQ(fingerprint({.crop = "pad", .flip = true}), 0x0AD548EDDFBF7C8Au);
  EXPECT_EQ(fingerprint({.crop = "random_resized", .flip = true, .colour_jitter = 0.4}), 0xFEC3A1F5DB259DC0u);
}

TEST(Augment, OptionsThatAreOffDrawNothing) {
  const Augment older{.crop = "pad", .flip = true, .colour_jitter = 0.4};
  Augment off = older;
  off.magnitude = 3;
  EXPECT_EQ(fingerprint(off), fingerprint(older));
  off.rand_augment = 1;
  EXPECT_NE(fingerprint(off), fingerprint(older));
}

TEST(Augment, RandAugmentComesAfterTheFlip) {
  const Image image = noise(20, 20, 5);
  for (uint64_t key = 0; key < 50; ++key) {
    Random random{key};
    Image expected = random.chance(0.5) ? flip_horizontal(image) : image;
    rand_augment(expected, 3, 6, random);
    EXPECT_TRUE(
        same(run(image, {.flip = true, .rand_augment = 3, .magnitude = 6}, plain(20, 20), key), expected));
  }
}

TEST(Augment, ErasesTheSaidShareOfPicturesAndNothingElse) {
  const Image image = flat(16, 16, 100, 150, 200);
  const Augment whole{.crop = "pad", .pad = 0, .flip = true, .colour_jitter = 0.2};
  for (double share : {0.25, 1.0}) {
    int erased = 0;
    for (uint64_t key = 0; key < 400; ++key) {
      Augment holed = whole;
      holed.erasing = share;
      const auto before = run(image, whole, plain(16, 16), key),
                 after = run(image, holed, plain(16, 16), key);
      int zeros = 0;
      for (size_t i = 0; i < after.size(); ++i) {
        if (after[i] == before[i]) continue;
        EXPECT_EQ(after[i], 0);  // the mean colour, which is black in plain()
        ++zeros;
      }
      erased += zeros > 0;
    }
    EXPECT_NEAR(erased, share * 400, share < 1 ? 45 : 0);
  }
}

TEST(Augment, FlipTurnsAboutHalf) {
  const Image image = noise(8, 8, 3);
  int flipped = 0;
  for (uint64_t key = 0; key < 400; ++key) {
    const auto out = run(image, {.flip = true}, plain(8, 8), key);
    const bool turned = same(out, flip_horizontal(image));
    EXPECT_TRUE(turned || same(out, image));
    flipped += turned;
  }
  EXPECT_NEAR(flipped, 200, 40);
}

TEST(Augment, PadGivesEveryShiftOfThePicture) {
  const Image image = noise(6, 6, 4);
  std::set<std::pair<int, int>> shifts;
  for (uint64_t key = 0; key < 300; ++key) {
    const auto out = run(image, {.crop = "pad", .pad = 2}, plain(6, 6), key);
    for (int dy = -2; dy <= 2; ++dy) {
      for (int dx = -2; dx <= 2; ++dx) {
        if (same(out, crop(image, dx, dy, 6, 6))) shifts.emplace(dx, dy);
      }
    }
  }
  EXPECT_EQ(shifts.size(), 25u);
  EXPECT_TRUE(same(run(image, {.crop = "pad", .pad = 0}, plain(6, 6), 1), image));
  EXPECT_TRUE(same(run(image, {.crop = "pad", .pad = 0}, plain(9, 9), 1), resize(image, 9, 9)));
}

TEST(Augment, RandomResizedShowsAPartOfTheSaidSize) {
  // Red grows to the right and green downwards, so that the ends of a row tell the part's width.
  Image ramp{200, 200, {}};
  for (int y = 0; y < 200; ++y) {
    for (int x = 0; x < 200; ++x) {
      for (int v : {x, y, 0}) ramp.pixels.push_back(uint8_t(v));
    }
  }
  for (uint64_t key = 0; key < 200; ++key) {
    const auto out = run(ramp, {.crop = "random_resized", .scale_min = 0.35}, plain(20, 20), key);
    const double w = (out[19 * 3] - out[0]) * 20 / 19, h = (out[(19 * 20) * 3 + 1] - out[1]) * 20 / 19;
    EXPECT_GE(w * h, 0.33 * 200 * 200) << key;
    EXPECT_GE(w / h, 0.72) << key;
    EXPECT_LE(w / h, 1.4) << key;
  }
}

TEST(Augment, RandomResizedOfOddShapes) {
  for (const auto& [w, h] :
       {std::pair(1, 1), std::pair(1, 300), std::pair(300, 1), std::pair(2, 3), std::pair(900, 30)}) {
    for (uint64_t key = 0; key < 20; ++key) {
      const Image image = flat(w, h, 10, 20, 30);
      EXPECT_TRUE(same(run(image, {.crop = "random_resized"}, plain(5, 5), key), flat(5, 5, 10, 20, 30)));
    }
  }
}

TEST(Augment, JitterStaysWithinItsFactors) {
  bool changed = false;
  for (uint64_t key = 0; key < 100; ++key) {
    // Of a flat grey picture only brightness changes anything.
    const auto out = run(flat(4, 4, 100, 100, 100), {.colour_jitter = 0.3}, plain(4, 4), key);
    EXPECT_GE(out[0], 69);
    EXPECT_LE(out[0], 131);
    for (float value : out) EXPECT_NEAR(value, out[0], 1.01);
    changed = changed || std::abs(out[0] - 100) > 10;
  }
  EXPECT_TRUE(changed);
}

TEST(Augment, RefusesSenselessOptions) {
  const Image image = noise(4, 4, 1);
  const auto text = [&](const Augment& options) {
    return expect_error(ErrorCode::kInvalidArgument, [&] { run(image, options, plain(4, 4), 1); });
  };
  EXPECT_TRUE(contains(text({.crop = "five"}), "crop: \"five\""));
  EXPECT_TRUE(contains(text({.crop = "pad", .pad = -1}), "pad"));
  EXPECT_TRUE(contains(text({.scale_min = 0}), "scale_min"));
  EXPECT_TRUE(contains(text({.scale_min = NAN}), "scale_min"));
  EXPECT_TRUE(contains(text({.colour_jitter = -0.5}), "colour_jitter"));
  EXPECT_TRUE(contains(text({.rand_augment = -1}), "rand_augment: must be from 0 to 16"));
  EXPECT_TRUE(contains(text({.rand_augment = 17}), "rand_augment"));
  EXPECT_TRUE(contains(text({.magnitude = 10.5}), "magnitude"));
  EXPECT_TRUE(contains(text({.magnitude = NAN}), "magnitude"));
  EXPECT_TRUE(contains(text({.erasing = 1.5}), "erasing"));
}

TEST(Augment, WantsNoMoreOfAPictureThanItsPartNeeds) {
  // A smooth picture, so that it is the same at every scale.
  Image image = flat(640, 480, 0, 0, 0);
  for (int y = 0; y < 480; ++y) {
    for (int x = 0; x < 640; ++x) {
      uint8_t* const p = &image.pixels[(size_t(y) * 640 + x) * 3];
      p[0] = uint8_t(x / 3), p[1] = uint8_t(y / 2), p[2] = uint8_t(128 + 100 * std::sin(x / 90.0));
    }
  }
  const std::string jpeg = encode_jpeg(image);
  const Image whole = decode_image(jpeg, "whole");
  std::set<int> heights;
  for (uint64_t key = 0; key < 60; ++key) {
    const Augment options{.crop = "random_resized", .scale_min = 0.08, .flip = true};
    const Preprocess recipe = plain(48, 56);
    const Image some = decode_image(jpeg, "some", wanted_by(options, recipe, Random{key}));
    EXPECT_EQ(some.full_width, some.width < 640 ? 640 : 0);
    heights.insert(some.height);
    const auto expected = run(whole, options, recipe, key), out = run(some, options, recipe, key);
    double apart = 0;
    for (size_t k = 0; k < out.size(); ++k) apart += std::abs(out[k] - expected[k]);
    EXPECT_LT(apart / out.size(), 1.5) << key;
  }
  EXPECT_EQ(heights, (std::set<int>{60, 120, 240}));
}

}  // namespace
}  // namespace fewshift
