// Near-duplicates, and a folder with every fault planted in it.
// SPDX-License-Identifier: Apache-2.0
#include "data/check.h"

#include <set>

#include "data/near_duplicates.h"
#include "image/decode.h"
#include "image/resize.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

// Soft blobs, no two alike.
Image scene(uint64_t seed, int width = 96, int height = 64) {
  return resize(noise(6, 5, seed), width, height);
}

std::string jpeg(const Image& image, int quality) {
  return testing_support::encode_jpeg(image.pixels.data(), image.width, image.height, TJPF_RGB, TJSAMP_420, 0,
                                      quality);
}

std::vector<std::vector<size_t>> groups(const std::vector<Image>& images) {
  std::vector<Likeness> likenesses;
  for (const Image& image : images) likenesses.push_back(likeness(image));
  return near_duplicates(likenesses, [&](size_t k) { return std::make_shared<const Image>(images[k]); });
}

using Groups = std::vector<std::vector<size_t>>;

TEST(NearDuplicates, SurviveSavingScalingAndLight) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Image image = scene(seed);
    Image brighter = image;
    for (uint8_t& value : brighter.pixels) value = static_cast<uint8_t>(value / 2 + 60);
    for (uint8_t& value : brighter.pixels) value = static_cast<uint8_t>(std::min(255, 2 * (value - 60) + 12));
    EXPECT_EQ(groups({image, decode_image(jpeg(image, 60), "")}), (Groups{{0, 1}})) << seed;
    EXPECT_EQ(groups({image, resize(image, 48, 32)}), (Groups{{0, 1}})) << seed;
    EXPECT_EQ(groups({scene(seed + 1000), image, brighter}), (Groups{{1, 2}})) << seed;
  }
}

TEST(NearDuplicates, LeaveOthersAlone) {
  std::vector<Image> images;
  for (uint64_t seed = 0; seed < 300; ++seed) images.push_back(scene(seed));
  EXPECT_EQ(groups(images), Groups{});
  // Flat pictures have the same hash, but not the same colour structure below it.
  Image spot = flat(96, 64, 200, 200, 200);
  for (int y = 20; y < 44; ++y) std::fill_n(&spot.pixels[(y * 96 + 30) * 3], 60, uint8_t{90});
  EXPECT_EQ(groups({flat(96, 64, 200, 200, 200), spot}), Groups{});
}

TEST(NearDuplicates, GroupsHoldAllThatHangTogether) {
  // Each step is close; the ends are far apart.
  std::vector<Image> images;
  const Image from = scene(1), to = scene(2);
  for (int step = 0; step <= 20; ++step) {
    images.push_back(from);
    for (size_t k = 0; k < from.pixels.size(); ++k)
      images.back().pixels[k] =
          static_cast<uint8_t>((from.pixels[k] * (20 - step) + to.pixels[k] * step) / 20);
  }
  EXPECT_EQ(groups({images.front(), images.back()}), Groups{});
  ASSERT_EQ(groups(images).size(), 1u);
  EXPECT_EQ(groups(images)[0].size(), images.size());
  EXPECT_EQ(groups({from, to, from, flat(8, 8, 1, 2, 3), to, flat(9, 9, 1, 2, 3)}),
            (Groups{{0, 2}, {1, 4}, {3, 5}}));
  EXPECT_EQ(groups({}), Groups{});
  // One that cannot be opened again is in no group.
  const Likeness l = likeness(from);
  EXPECT_EQ(
      near_duplicates({l, l, l}, [&](size_t k) { return k ? std::make_shared<const Image>(from) : nullptr; }),
      (Groups{{1, 2}}));
}

DataCheck check(const std::filesystem::path& root, int few = 4) {
  CheckOptions options;
  options.few = few, options.threads = 3;
  return check_data(root, options, [](size_t, size_t) {});
}

// Two classes of five pictures in train/ and two in test/.
void write_sound(const TemporaryFolder& folder) {
  for (const char* part : {"train", "test"}) {
    for (int c = 0; c < 2; ++c) {
      for (int k = 0; k < (part == std::string("train") ? 5 : 2); ++k)
        folder.write(std::string(part) + "/" + (c ? "dog" : "cat") + "/" + std::to_string(k) + ".jpg",
                     jpeg(scene(static_cast<uint64_t>(100 * c + k + (part[1] == 'e' ? 50 : 0))), 90));
    }
  }
}

TEST(DataCheck, FindsNothingWhereNothingIs) {
  const TemporaryFolder folder;
  write_sound(folder);
  const DataCheck result = check(folder.path());
  EXPECT_EQ(result.found(), 0u);
  EXPECT_EQ(result.pictures.size(), 14u);
  EXPECT_EQ(result.counts.at("train").at("cat"), 5);
  EXPECT_EQ(result.counts.at("test").at("dog"), 2);
  EXPECT_EQ(result.median_side, 64);
  EXPECT_EQ(result.open(0)->width, 96);
}

TEST(DataCheck, FindsWhatWasPlanted) {
  const TemporaryFolder folder;
  write_sound(folder);
  const std::string whole = jpeg(scene(7), 90);
  folder.write("train/cat/cut.jpg", whole.substr(0, whole.size() / 2));
  folder.write("train/dog/text.jpg", "this is no picture\n");
  folder.write("train/dog/empty.png", "");
  folder.write("train/cat/anim.gif", "GIF89a");
  folder.write("train/cat/more.GIF", "GIF89a");
  folder.write("test/dog/again.jpg", jpeg(scene(3), 70));  // train/cat/3.jpg
  for (int k = 0; k < 3; ++k)
    folder.write("train/owl/" + std::to_string(k) + ".jpg", jpeg(scene(900 + static_cast<uint64_t>(k)), 90));
  std::filesystem::create_directories(folder.path() / "train/void");
  folder.write("test/fox/0.jpg", jpeg(scene(800), 90));
  folder.write("train/cat/tiny.jpg", jpeg(scene(801, 12, 12), 90));
  folder.write("train/cat/huge.jpg", jpeg(scene(802, 400, 300), 90));
  folder.write("train/cat/strip.jpg", jpeg(scene(803, 300, 40), 90));
  const Image alpha = scene(804, 64, 64);
  std::vector<uint8_t> rgba;
  for (size_t k = 0; k < alpha.pixels.size(); ++k) {
    rgba.push_back(alpha.pixels[k]);
    if (k % 3 == 2) rgba.push_back(128);
  }
  folder.write("train/cat/alpha.png", encode_png(64, 64, PNG_COLOR_TYPE_RGB_ALPHA, 8, rgba));
  folder.write("valid/cat/0.jpg", whole);
  folder.write("valid/dog/0.jpg", whole);
  folder.write("test/stray.jpg", whole);
  folder.write("train/.hidden/0.jpg", "no");
  folder.write("train/cat/.hidden.jpg", "no");

  const DataCheck result = check(folder.path());
  auto below = [&](const std::string& name) { return name.substr(folder.path().string().size() + 1); };
  std::set<std::string> broken;
  for (const auto& b : result.broken) broken.insert(below(b.file));
  EXPECT_EQ(broken,
            (std::set<std::string>{"train/cat/cut.jpg", "train/dog/empty.png", "train/dog/text.jpg"}));
  for (const auto& b : result.broken) EXPECT_FALSE(contains(b.reason, folder.path().string())) << b.reason;

  std::set<std::string> passed_over;
  for (const auto& p : result.passed_over) passed_over.insert(p.what + " " + std::to_string(p.files));
  EXPECT_EQ(passed_over,
            (std::set<std::string>{"named .gif 2", "in valid/, which is no part 2", "directly in test/ 1"}));

  ASSERT_EQ(result.duplicates.size(), 1u);
  const auto& group = result.duplicates[0];
  ASSERT_EQ(group.size(), 2u);
  EXPECT_EQ(below(result.pictures[group[0]].name), "train/cat/3.jpg");
  EXPECT_EQ(below(result.pictures[group[1]].name), "test/dog/again.jpg");
  EXPECT_TRUE(result.across_parts(group));
  EXPECT_TRUE(result.across_classes(group));

  std::set<std::string> classes;
  for (const auto& c : result.classes)
    classes.insert(c.part + "/" + c.folder + " " + std::to_string(c.pictures) + " " + c.reason);
  EXPECT_EQ(classes,
            (std::set<std::string>{"train/owl 3 has few", "train/void 0 has no picture that can be read",
                                   "train/fox 0 is not in train/, but elsewhere", "test/owl 0 is not in it",
                                   "test/void 0 is not in it"}));

  std::set<std::string> sizes;
  for (const auto& o : result.sizes) sizes.insert(below(result.pictures[o.picture].name));
  EXPECT_EQ(sizes,
            (std::set<std::string>{"train/cat/tiny.jpg", "train/cat/huge.jpg", "train/cat/strip.jpg"}));

  ASSERT_EQ(result.colours.size(), 1u);
  EXPECT_EQ(below(result.pictures[result.colours[0].picture].name), "train/cat/alpha.png");
  EXPECT_TRUE(contains(result.colours[0].reason, "RGB + alpha"));
}

TEST(DataCheck, RefusesWhatIsNoDataSet) {
  const TemporaryFolder folder;
  EXPECT_TRUE(
      contains(expect_error(ErrorCode::kNotFound, [&] { check(folder.path() / "nowhere"); }), "nowhere"));
  expect_error(ErrorCode::kNotFound, [&] { check(folder.path()); });
  std::filesystem::create_directories(folder.path() / "train/cat");
  expect_error(ErrorCode::kNotFound, [&] { check(folder.path()); });
}

}  // namespace
}  // namespace fewshift
