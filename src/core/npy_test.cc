// SPDX-License-Identifier: Apache-2.0
#include "core/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += {static_cast<char>(header.size()), '\0'};
  return bytes + header + data;
}

TEST(Npy, ComesBackAsItWas) {
  const auto path = std::filesystem::temp_directory_path() / ("npy" + std::to_string(getpid()) + ".npy");
  for (const Npy& array : {Npy{{2, 3}, {1, 2, 3, 4, 5, 6}}, Npy{{1}, {7}}, Npy{{}, {8}}, Npy{{0, 4}, {}}}) {
    write_npy(path, array);
    const Npy back = read_npy(path);
    EXPECT_EQ(back.shape, array.shape);
    EXPECT_EQ(back.values, array.values);
    EXPECT_EQ(std::filesystem::file_size(path) % 64,
              array.values.size() * 4 % 64);  // data begins at 64 bytes
  }
  std::filesystem::remove(path);
}

TEST(Npy, ReadsWhatNumPyWrites) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
  const Npy array = parse_npy(file_of(header, std::string("\0\0\x80\x3f\0\0\0\x40", 8)), "x");
  EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(array.values, (std::vector<float>{1, 2}));
}

TEST(Npy, RefusesWhatItIsNot) {
  auto message = [](const std::string& bytes) {
    try {
      parse_npy(bytes, "some.npy");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  const std::string data(8, '\0');
  for (const auto& [bytes, part] : {
           std::pair<std::string, std::string>{"", "no .npy"},
           {std::string("\x93NUMPY\x01\x00\xff\xff{}", 12), "cut short"},
           {file_of("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", data), "float32"},
           {file_of("{'descr': '<f4', 'fortran_order': True, 'shape': (2,)}", data), "column-major"},
           {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", data), "12"},
           {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", data + "ab"), "10 bytes"},
           {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", data), "shape"},
           {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,1099511627776)}", data),
            "large"},
           {file_of("{'descr': '<f4', 'fortran_order': False}", data), "shape"},
       }) {
    EXPECT_NE(message(bytes).find("some.npy"), std::string::npos) << message(bytes);
    EXPECT_NE(message(bytes).find(part), std::string::npos) << message(bytes);
  }
}

}  // namespace
}  // namespace fewshift
