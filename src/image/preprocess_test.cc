// The evaluation recipe: its numbers, its JSON and its refusals.
// SPDX-License-Identifier: Apache-2.0
#include "image/preprocess.h"

#include "image/centre_crop.h"
#include "image/resize.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

TEST(DefaultPreprocess, ResizesByEightSevenths) {
  EXPECT_EQ(default_preprocess(224).resize, 256);
  EXPECT_EQ(default_preprocess(112).resize, 128);
  EXPECT_EQ(default_preprocess(64).resize, 64);
  EXPECT_EQ(default_preprocess(32).resize, 32);
  EXPECT_EQ(default_preprocess(32).size, 32);
}

TEST(Normalise, DividesSubtractsDivides) {
  Preprocess recipe = default_preprocess(2);
  recipe.mean = {0.5f, 0.25f, 0};
  recipe.std = {0.5f, 0.25f, 2};
  float out[12];
  normalise(flat(2, 2, 255, 0, 51), recipe, out);
  for (int i = 0; i < 12; i += 3) {
    EXPECT_FLOAT_EQ(out[i], 1);
    EXPECT_FLOAT_EQ(out[i + 1], -1);
    EXPECT_FLOAT_EQ(out[i + 2], 0.1f);
  }
  expect_error(ErrorCode::kInvalidArgument, [&] { normalise(flat(3, 2, 0, 0, 0), recipe, out); });
}

TEST(PreprocessPicture, EqualsResizeThenCrop) {
  Random random{3};
  for (int round = 0; round < 25; ++round) {
    Preprocess recipe;
    recipe.size = int(random.below(20)) + 1;
    recipe.resize = recipe.size + int(random.below(12));
    recipe.mean = {0, 0, 0};
    recipe.std = {1, 1, 1};
    const Image image = noise(int(random.below(60)) + 1, int(random.below(60)) + 1, round);
    std::vector<float> out(size_t(recipe.size) * recipe.size * 3);
    preprocess(image, recipe, out.data());
    const Image resized = resize_short_side(image, recipe.resize);
    const auto begin = [&](int side) { return static_cast<int>(std::nearbyint((side - recipe.size) / 2.0)); };
    const Image middle = crop(resized, begin(resized.width), begin(resized.height), recipe.size, recipe.size);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i] * 255, middle.pixels[i], 1.01) << round;
  }
}

TEST(PreprocessPicture, VeryLongAndEmptyPictures) {
  const Preprocess recipe = default_preprocess(8);
  std::vector<float> out(8 * 8 * 3);
  preprocess(Image{1, 1 << 22, std::vector<uint8_t>(3u << 22, 255)}, recipe, out.data());
  EXPECT_FLOAT_EQ(out[0], (1 - 0.485f) / 0.229f);
  expect_error(ErrorCode::kInvalidArgument, [&] { preprocess(Image{}, recipe, out.data()); });
}

TEST(PreprocessJson, RoundTrip) {
  Preprocess recipe = default_preprocess(224);
  EXPECT_EQ(to_json(recipe),
            R"({"size":224,"resize":256,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],)"
            R"("interpolation":"bilinear","decode":"fast"})");
  recipe.mean = {1.0f / 3, -2e-7f, 0};
  recipe.interpolation = Interpolation::kBicubic;
  recipe.decode_in_full = true;
  const Preprocess back = preprocess_from_json(to_json(recipe), "net");
  EXPECT_EQ(back.size, 224);
  EXPECT_EQ(back.resize, 256);
  EXPECT_EQ(back.mean, recipe.mean);
  EXPECT_EQ(back.std, recipe.std);
  EXPECT_EQ(back.interpolation, Interpolation::kBicubic);
  EXPECT_TRUE(back.decode_in_full);
}

TEST(PreprocessJson, OfBeforeSaysNothingOfInterpolationAndDecoding) {
  const std::string before = R"({"size":32,"resize":32,"mean":[0,0,0],"std":[1,1,1]})";
  EXPECT_EQ(preprocess_from_json(before, "net").interpolation, Interpolation::kBilinear);
  EXPECT_FALSE(preprocess_from_json(before, "net").decode_in_full);
  EXPECT_TRUE(preprocess_from_json(before, "net", true).decode_in_full);
  EXPECT_FALSE(preprocess_from_json(to_json(default_preprocess(32)), "net", true).decode_in_full);
}

TEST(PreprocessPicture, IsBicubicAndDecodedInFullWhereItSaysSo) {
  Preprocess recipe = default_preprocess(24);
  const Image image = noise(60, 50, 7);
  EXPECT_EQ(difference(resize_centre_crop(image, recipe), crop(resize_short_side(image, 24), 2, 0, 24, 24)),
            0);
  recipe.interpolation = Interpolation::kBicubic;
  const Image bicubic = resize(image, 28, 24, Interpolation::kBicubic);
  EXPECT_LE(difference(resize_centre_crop(image, recipe), crop(bicubic, 2, 0, 24, 24)), 1);
  EXPECT_EQ(decode_min_side(recipe), 48);
  recipe.decode_in_full = true;
  EXPECT_EQ(decode_min_side(recipe), 0);
}

TEST(PreprocessJson, NamesTheBadField) {
  const std::string good = to_json(default_preprocess(32));
  const auto error_with = [&](const std::string& from, const std::string& to) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    return expect_error(ErrorCode::kCorrupt, [&] { preprocess_from_json(json, "net.json"); });
  };
  EXPECT_TRUE(contains(error_with("\"size\"", "\"sise\""), "net.json: the preprocessing has no \"size\""));
  for (const char* size : {"0", "-3", "4097", "33", "\"32\"", "3.5", "null", "18446744073709551615"}) {
    EXPECT_TRUE(contains(error_with("32", size), "\"size\"")) << size;
  }
  EXPECT_TRUE(contains(error_with("\"resize\":32", "\"resize\":99999"), "\"resize\""));
  EXPECT_TRUE(contains(error_with("0.485,", ""), "\"mean\""));
  EXPECT_TRUE(contains(error_with("0.485", "1e300"), "\"mean\""));
  EXPECT_TRUE(contains(error_with("0.229", "0"), "\"std\""));
  EXPECT_TRUE(contains(error_with("0.229", "\"x\""), "\"std\""));
  EXPECT_TRUE(contains(error_with("bilinear", "nearest"),
                       "net.json: \"interpolation\" must be \"bilinear\" or \"bicubic\""));
  EXPECT_TRUE(contains(error_with("\"fast\"", "1"), "\"decode\" must be \"fast\" or \"full\""));
  for (const char* json : {"", "{", "[]", "3", "null"}) {
    expect_error(ErrorCode::kCorrupt, [&] { preprocess_from_json(json, "net.json"); });
  }
}

}  // namespace
}  // namespace fewshift
