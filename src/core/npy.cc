// SPDX-License-Identifier: Apache-2.0
#include "core/npy.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {
namespace {

constexpr std::string_view kMagic{"\x93NUMPY", 6};

// The text behind "'key':" of the header, a Python dictionary on one line.
std::string_view field(std::string_view header, std::string_view key, const std::string& where) {
  const size_t at = header.find("'" + std::string(key) + "'");
  const size_t colon = at == std::string_view::npos ? at : header.find(':', at);
  if (colon == std::string_view::npos)
    throw Error(ErrorCode::kCorrupt, where, "its header has no " + std::string(key));
  std::string_view rest = header.substr(colon + 1);
  return rest.substr(std::min(rest.find_first_not_of(' '), rest.size()));
}

std::vector<int64_t> shape_of(std::string_view text, const std::string& where) {
  std::vector<int64_t> shape;
  auto fail = [&] { throw Error(ErrorCode::kCorrupt, where, "its header's shape is malformed"); };
  if (text.empty() || text[0] != '(') fail();
  int64_t number = -1;
  for (char c : text.substr(1)) {
    if (c >= '0' && c <= '9') {
      number = std::max<int64_t>(number, 0) * 10 + (c - '0');
      if (number > (int64_t{1} << 40)) fail();
    } else if (c == ',' || c == ')') {
      if (number >= 0) shape.push_back(number);
      number = -1;
      if (c == ')') return shape;
    } else if (c != ' ') {
      fail();
    }
  }
  fail();
  return shape;
}

}  // namespace

Npy parse_npy(const std::string& bytes, const std::string& where) {
  if (bytes.size() < 12 || bytes.compare(0, 6, kMagic) != 0)
    throw Error(ErrorCode::kCorrupt, where, "is no .npy file");
  const bool wide = bytes[6] > 1;  // versions 2 and 3 have a length of four bytes
  size_t length = 0;
  for (size_t k = 0; k < (wide ? 4u : 2u); ++k)
    length |= size_t(static_cast<uint8_t>(bytes[8 + k])) << (8 * k);
  const size_t begin = wide ? 12 : 10;
  if (length > bytes.size() - begin) throw Error(ErrorCode::kCorrupt, where, "is cut short in its header");
  const std::string_view header(bytes.data() + begin, length);
  if (!field(header, "descr", where).starts_with("'<f4'"))
    throw Error(ErrorCode::kUnsupported, where, "is not of type float32 ('<f4')");
  if (!field(header, "fortran_order", where).starts_with("False"))
    throw Error(ErrorCode::kUnsupported, where, "is in column-major order");
  Npy array;
  array.shape = shape_of(field(header, "shape", where), where);
  const size_t there = bytes.size() - begin - length;
  size_t count = 1;
  for (int64_t dim : array.shape) {
    if (dim > 0 && count > (size_t{1} << 40) / static_cast<size_t>(dim))
      throw Error(ErrorCode::kCorrupt, where, "its shape is too large");
    count *= static_cast<size_t>(dim);
  }
  if (count * sizeof(float) != there)
    throw Error(ErrorCode::kCorrupt, where,
                "holds " + std::to_string(there) + " bytes behind its header, its shape wants " +
                    std::to_string(count * sizeof(float)));
  array.values.resize(count);
  if (count > 0) std::memcpy(array.values.data(), bytes.data() + begin + length, count * sizeof(float));
  return array;
}

Npy read_npy(const std::filesystem::path& path) {
  return parse_npy(read_file(path), path.string());
}

void write_npy(const std::filesystem::path& path, const Npy& array) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int64_t dim : array.shape) header += std::to_string(dim) + ",";
  header += "), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(array.values.data()), array.values.size() * sizeof(float));
  write_file_atomic(path, bytes);
}

}  // namespace fewshift
