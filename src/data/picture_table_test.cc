// Tables of pictures: kept between runs, and never believed when something has changed.
// SPDX-License-Identifier: Apache-2.0
#include "data/picture_table.h"

#include <chrono>
#include <cstdlib>
#include <map>
#include <set>

#include "core/file.h"
#include "core/random.h"
#include "data/open.h"
#include "data/tar.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;
using namespace testing_support;

StampedTable example(bool places) {
  StampedTable t;
  t.stamps = {{"a", 5, 0}, {"b/c", -7, 9}};
  for (int k = 0; k < 5; ++k) {
    const std::string name(static_cast<size_t>(k), static_cast<char>('a' + k));
    places ? t.table.add(name, k % 3, {size_t(k % 2), uint64_t(k) << 40, uint64_t(k)})
           : t.table.add(name, k % 3);
  }
  return t;
}

TEST(PictureTable, ComesBackFromItsBytes) {
  for (const bool places : {false, true}) {
    const StampedTable t = example(places), back = parse_table(format_table(t, "/root"), "/root", "file");
    EXPECT_EQ(back.stamps, t.stamps);
    ASSERT_EQ(back.table.size(), 5u);
    for (size_t k = 0; k < 5; ++k) {
      EXPECT_EQ(back.table.name(k), t.table.name(k));
      EXPECT_EQ(back.table.name(k).size(), k);
      EXPECT_EQ(back.table.label(k), int(k % 3));
      EXPECT_EQ(back.table.place(k).offset, places ? k << 40 : 0);
    }
  }
  expect_error(ErrorCode::kCorrupt, [] { parse_table(format_table(example(true), "/a"), "/b", "file"); });
}

TEST(PictureTable, DamagedBytesAreRefusedOrHarmless) {
  Random random{11};
  const std::string bytes = format_table(example(true), "/root");
  for (int round = 0; round < 3000; ++round) {
    std::string changed = bytes;
    for (uint64_t k = 0; k <= random.below(3); ++k)
      changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    if (random.chance(0.2)) changed.resize(random.below(changed.size()));
    try {
      const StampedTable t = parse_table(changed, "/root", "file");
      size_t all = 0;
      for (size_t k = 0; k < t.table.size(); ++k) {
        all += t.table.name(k).size();
        EXPECT_LT(t.table.place(k).file, t.stamps.size());
        EXPECT_GE(t.table.label(k), 0);
      }
      EXPECT_LE(all, changed.size());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    }
  }
}

// 20,000 pictures, all the same file, in two classes, a folder a hundred.
class KeptTable : public testing::Test {
 protected:
  void SetUp() override {
    setenv("FEWSHIFT_CACHE", (folder_.path() / "cache").c_str(), 1);
    folder_.write("picture.png", encode_png(flat(2, 2, 1, 2, 3)));
  }
  void TearDown() override { unsetenv("FEWSHIFT_CACHE"); }

  fs::path root() const { return folder_.path() / "data"; }
  void make_folders() {
    for (int k = 0; k < 20'000; ++k) {
      const fs::path folder = root() / "train" / (k % 2 ? "cat" : "dog") / std::to_string(k / 1000);
      if (k % 1000 < 2) fs::create_directories(folder);
      fs::create_hard_link(folder_.path() / "picture.png", folder / (std::to_string(k) + ".png"));
    }
    folder_.write("data/train/dog/0/notes.txt", "");
    settle();
  }
  // As if all had lain there for long.
  void settle() {
    const auto past = fs::file_time_type::clock::now() - std::chrono::hours(1);
    for (const auto& entry : fs::recursive_directory_iterator(root()))
      fs::last_write_time(entry.path(), past);
  }
  size_t kept() const {
    std::error_code error;
    size_t files = 0;
    for (auto entry = fs::directory_iterator(folder_.path() / "cache", error); entry != fs::end(entry);
         ++entry)
      ++files;
    return files;
  }
  std::map<std::string, int> train() const {
    const Data data = open_data(root(), {.val_share = 0});
    std::map<std::string, int> pictures;
    for (size_t k = 0; k < data.train->size(); ++k) pictures[data.train->name(k)] = data.train->label(k);
    EXPECT_EQ(pictures.size(), data.train->size());
    const PassedOver notes = {{".txt", 1}};
    EXPECT_EQ(data.passed_over, data.format == "image folder" ? notes : PassedOver());
    return pictures;
  }

  TemporaryFolder folder_;
};

TEST_F(KeptTable, OfFoldersIsUsedUntilSomethingChanges) {
  make_folders();
  const auto listed = train();
  EXPECT_EQ(listed.size(), 20'000u);
  EXPECT_EQ(kept(), 1u);
  EXPECT_EQ(train(), listed);
  // That it is used shows where the table lies and the folders' times do not.
  const fs::path deep = root() / "train/cat/7";
  const auto then = fs::last_write_time(deep);
  const fs::path gone = deep / "7001.png";
  ASSERT_TRUE(fs::remove(gone));
  fs::last_write_time(deep, then);
  EXPECT_EQ(train().size(), 20'000u);
  fs::last_write_time(deep, then + std::chrono::seconds(5));
  EXPECT_EQ(train().size(), 19'999u);
  fs::create_hard_link(folder_.path() / "picture.png", gone);
  settle();
  EXPECT_EQ(train(), listed);

  fs::create_directories(root() / "train/ant");
  fs::create_hard_link(folder_.path() / "picture.png", root() / "train/ant/x.png");
  const auto more = train();
  EXPECT_EQ(more.size(), 20'001u);
  EXPECT_EQ(more.at((root() / "train/ant/x.png").string()), 0);
  EXPECT_EQ(more.at(gone.string()), 1);
  fs::remove_all(root() / "train/ant");
  EXPECT_EQ(train(), listed);
}

TEST_F(KeptTable, IsNotBelievedWhereItCannotBe) {
  make_folders();
  fs::last_write_time(root() / "train/cat", fs::file_time_type::clock::now());  // changes may go unseen
  const auto listed = train();
  EXPECT_EQ(kept(), 0u);
  settle();
  train();
  ASSERT_EQ(kept(), 1u);
  const fs::path file = fs::directory_iterator(folder_.path() / "cache")->path();
  const std::string bytes = read_file(file);
  for (const std::string& damaged : {std::string("?"), bytes.substr(0, bytes.size() / 2), std::string()}) {
    write_file_atomic(file, damaged);
    EXPECT_EQ(train(), listed);
    EXPECT_EQ(read_file(file), bytes);  // made anew
  }
  fs::remove_all(folder_.path() / "cache");
  folder_.write("cache", "a file is in the way");
  EXPECT_EQ(train(), listed);
}

TEST_F(KeptTable, OfShardsIsUsedUntilOneChanges) {
  const std::string picture = read_file(folder_.path() / "picture.png");
  const auto shard = [&](int number, int pictures, int label) {
    std::string bytes;
    for (int k = 0; k < pictures; ++k) {
      const std::string key = std::to_string(number) + "/" + std::to_string(k);
      bytes += tar_member(key + ".png", picture) + tar_member(key + ".cls", std::to_string(label));
    }
    folder_.write("data/train-" + std::to_string(number) + ".tar", bytes + tar_end());
  };
  for (int k = 0; k < 4; ++k) shard(k, 5000, k % 2);
  settle();
  const auto listed = train();
  EXPECT_EQ(listed.size(), 20'000u);
  EXPECT_EQ(kept(), 1u);
  EXPECT_EQ(train(), listed);
  EXPECT_EQ(open_data(root(), {.val_share = 0}).train->image(17'000)->pixels, flat(2, 2, 1, 2, 3).pixels);
  EXPECT_EQ(open_data(root(), {.val_share = 0}).train->runs().size(), 4u);
  shard(2, 5001, 1);
  const auto more = train();
  EXPECT_EQ(more.size(), 20'001u);
  EXPECT_EQ(more.at((root() / "train-2.tar").string() + ":2/7.png"), 1);
}

}  // namespace
}  // namespace fewshift
