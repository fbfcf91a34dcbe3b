// Checkpoint files: there and back, and whatever a broken one may hold.
// SPDX-License-Identifier: Apache-2.0
#include "core/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/random.h"

namespace fewshift {
namespace {

SafeTensors example() {
  SafeTensors file;
  file.tensors["a.weight"] = {"F32", {2, 3}, std::string(24, 'x')};
  file.tensors["b"] = {"I64", {}, std::string(8, 'y')};
  file.tensors["empty"] = {"F64", {0, 4}, ""};
  file.metadata["names"] = "[\"häuser\"]";
  return file;
}

std::string with_header(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST(SafeTensors, ThereAndBack) {
  const SafeTensors file = example(), back = parse_safetensors(format_safetensors(file), "x");
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), 3u);
  EXPECT_EQ(back.tensors.at("a.weight").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(back.tensors.at("a.weight").bytes, std::string(24, 'x'));
  EXPECT_EQ(back.tensors.at("b").bytes, std::string(8, 'y'));
}

TEST(SafeTensors, DataIsAlignedToEightBytes) {
  const std::string bytes = format_safetensors(example());
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
}

TEST(SafeTensors, RefusesBrokenHeaders) {
  const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string broken[] = {
      "",
      "1234567",
      std::string(8, '\xff'),
      with_header("not json"),
      with_header("[]"),
      with_header("{}", "left over"),
      with_header(one, "1234"),  // unclosed
      with_header(R"({"a":7})"),
      with_header(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "1234"),
      with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),  // shape
      with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "1234"),  // outside
      with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234"),  // backwards
      with_header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234"),
      with_header(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}})",
                  "1234"),
      with_header(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", "1234"),
      with_header(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          "1234"),
      with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678"),  // a hole
      with_header(R"({"__metadata__":{"k":1}})"),
  };
  for (const std::string& bytes : broken) {
    try {
      parse_safetensors(bytes, "file.safetensors");
      ADD_FAILURE() << "accepted: " << bytes.substr(std::min<size_t>(8, bytes.size()));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_EQ(error.where(), "file.safetensors");
    }
  }
}

TEST(SafeTensors, AChangeOfContentsIsNoticedByTheChecksum) {
  const std::string bytes = format_safetensors(example());
  for (size_t at = bytes.size() - 1; bytes[at] != '}' && bytes[at] != ' '; --at) {
    std::string altered = bytes;
    altered[at] ^= 0x10;
    EXPECT_THROW(parse_safetensors(altered, "x"), Error) << at;
  }
  std::string altered = bytes;
  altered[altered.find("user")] = 'U';  // in a name of the metadata
  EXPECT_THROW(parse_safetensors(altered, "x"), Error);
}

TEST(SafeTensors, RandomDamageIsNoticedOrHarmless) {
  const std::string good = format_safetensors(example());
  Random random{9};
  for (int k = 0; k < 2000; ++k) {
    std::string bad = good;
    for (uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      bad[random.below(bad.size())] = static_cast<char>(random.below(256));
    }
    if (random.chance(0.3)) bad.resize(random.below(bad.size()));
    try {
      parse_safetensors(bad, "x");
    } catch (const Error&) {
    }
  }
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    path = std::filesystem::temp_directory_path() / ("fewshift_file_test_" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
  }
  void TearDown() override { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

TEST_F(Folder, WritesReplaceAsAWholeAndLeaveNothingBehind) {
  write_file_atomic(path / "f", "old");
  write_file_atomic(path / "f", "new, longer");
  EXPECT_EQ(read_file(path / "f"), "new, longer");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path), {}), 1);
}

TEST_F(Folder, WritesGoThroughLinksAndIntoDevices) {
  write_file_atomic(path / "f", "old");
  std::filesystem::create_symlink("f", path / "link");
  write_file_atomic(path / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(path / "link"));
  EXPECT_EQ(read_file(path / "f"), "new");
  std::filesystem::create_symlink("/dev/full", path / "full");
  EXPECT_THROW(write_file_atomic(path / "full", "x"), Error);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST_F(Folder, AFailedWriteNamesTheFileAndKeepsTheOld) {
  std::filesystem::create_directory(path / "folder");
  write_file_atomic(path / "folder" / "inside", "kept");
  EXPECT_THROW(write_file_atomic(path / "folder", "x"), Error);  // a folder is in the way
  EXPECT_EQ(read_file(path / "folder" / "inside"), "kept");
  EXPECT_FALSE(std::filesystem::exists(path / "folder.tmp"));
  try {
    write_file_atomic(path / "missing" / "f", "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), (path / "missing" / "f").string());
  }
}

TEST_F(Folder, ReadingAFolderOrNothingIsAnError) {
  EXPECT_THROW(read_file(path), Error);
  EXPECT_THROW(read_file(path / "nothing"), Error);
}

TEST(RandomNumbers, DependOnTheKeyAlone) {
  Random a{1, 2, 3}, b{1, 2, 3}, c{1, 3, 2};
  const uint64_t first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
  double sum = 0;
  for (int k = 0; k < 10000; ++k) {
    const double v = a.uniform();
    ASSERT_TRUE(v >= 0 && v < 1);
    sum += v;
    ASSERT_LT(a.below(7), 7u);
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

}  // namespace
}  // namespace fewshift
