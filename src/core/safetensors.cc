// SPDX-License-Identifier: Apache-2.0
#include "core/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/error.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/json_text.h"

namespace fewshift {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;

int64_t item_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
      {"I32", 4},  {"U32", 4}, {"F32", 4}, {"F64", 8}, {"I64", 8}, {"U64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

constexpr const char* kChecksum = "checksum";

using Metadata = std::map<std::string, std::string>;

// Of all that a file holds, whatever the order and spelling of its header. Any change within eight bytes
// changes it.
std::string checksum(const Metadata& metadata, const std::map<std::string, RawTensor>& tensors) {
  Fnv hash;
  const auto add = [&](const std::string& text) {
    hash.add(uint64_t{text.size()});
    hash.add_words(text);
  };
  for (const auto& [key, value] : metadata) add(key), add(value);
  for (const auto& [name, tensor] : tensors) {
    add(name), add(tensor.dtype);
    for (const int64_t side : tensor.shape) hash.add(static_cast<uint64_t>(side));
    add(tensor.bytes);
  }
  return "fnv64:" + std::to_string(hash.value());
}

struct Header {
  json fields;
  uint64_t data_begin;
};

Header parse_header(const std::string& bytes, const std::string& where) {
  auto fail = [&](const std::string& what) { throw Error(ErrorCode::kCorrupt, where, what); };
  if (bytes.size() < 8) fail("not a safetensors file: shorter than 8 bytes");
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kMaxHeader || length > bytes.size() - 8) {
    fail("not a safetensors file, or cut off: its header claims " + std::to_string(length) + " bytes");
  }
  json fields =
      json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<std::ptrdiff_t>(length), nullptr, false);
  if (!fields.is_object()) fail("corrupted header: not a JSON object");
  return {std::move(fields), 8 + length};
}

// The bytes that a shape takes, or -1 where they do not fit 63 bits.
int64_t shape_bytes(const std::vector<int64_t>& shape, int64_t item) {
  int64_t bytes = item;
  for (int64_t side : shape) {
    if (side < 0 || (side > 0 && bytes > std::numeric_limits<int64_t>::max() / side)) return -1;
    bytes *= side;
  }
  return bytes;
}

struct Extent {
  uint64_t begin, end;
};

Extent parse_tensor(const json& field, const std::string& name, const std::string& where, uint64_t data_bytes,
                    RawTensor& tensor) {
  auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::kCorrupt, where, "corrupted header: tensor " + name + ": " + what);
  };
  if (!field.is_object() || !field.contains("dtype") || !field["dtype"].is_string()) fail("no dtype");
  tensor.dtype = field["dtype"].get<std::string>();
  const int64_t item = item_bytes(tensor.dtype);
  if (item == 0) fail("unknown dtype " + tensor.dtype);
  if (!field.contains("shape") || !field["shape"].is_array()) fail("no shape");
  for (const json& side : field["shape"]) {
    if (!side.is_number_integer()) fail("a shape that is not of whole numbers");
    tensor.shape.push_back(side.get<int64_t>());
  }
  if (!field.contains("data_offsets") || !field["data_offsets"].is_array() ||
      field["data_offsets"].size() != 2 || !field["data_offsets"][0].is_number_unsigned() ||
      !field["data_offsets"][1].is_number_unsigned()) {
    fail("no data_offsets");
  }
  const Extent extent{field["data_offsets"][0].get<uint64_t>(), field["data_offsets"][1].get<uint64_t>()};
  if (extent.begin > extent.end || extent.end > data_bytes) fail("its bytes lie outside the file (cut off?)");
  const int64_t expected = shape_bytes(tensor.shape, item);
  if (expected < 0 || static_cast<uint64_t>(expected) != extent.end - extent.begin)
    fail("its bytes do not fit its shape");
  return extent;
}

}  // namespace

SafeTensors parse_safetensors(const std::string& bytes, const std::string& where) {
  const Header header = parse_header(bytes, where);
  const uint64_t data_bytes = bytes.size() - header.data_begin;
  SafeTensors file;
  std::vector<Extent> extents;
  for (const auto& [name, field] : header.fields.items()) {
    if (name == "__metadata__") {
      if (!field.is_object()) throw Error(ErrorCode::kCorrupt, where, "corrupted header: __metadata__");
      for (const auto& [key, value] : field.items()) {
        if (!value.is_string())
          throw Error(ErrorCode::kCorrupt, where, "corrupted header: __metadata__." + key);
        file.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    RawTensor tensor;
    const Extent extent = parse_tensor(field, name, where, data_bytes, tensor);
    tensor.bytes = bytes.substr(header.data_begin + extent.begin, extent.end - extent.begin);
    extents.push_back(extent);
    file.tensors[name] = std::move(tensor);
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != at)
      throw Error(ErrorCode::kCorrupt, where, "corrupted header: tensors overlap or leave holes");
    at = extent.end;
  }
  if (at != data_bytes) throw Error(ErrorCode::kCorrupt, where, "bytes behind the last tensor, or cut off");
  if (const auto written = file.metadata.extract(kChecksum);
      written && written.mapped() != checksum(file.metadata, file.tensors))
    throw Error(ErrorCode::kCorrupt, where, "its contents have changed since it was written (checksum)");
  return file;
}

SafeTensors read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

std::string format_safetensors(const SafeTensors& file) {
  json header = json::object();
  // As it will be read: bytes that are no UTF-8 are replaced in a header.
  Metadata metadata = json::parse(json_text(json(file.metadata)));
  metadata[kChecksum] = checksum(metadata, file.tensors);
  header["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const auto& [name, tensor] : file.tensors) {
    header[name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.bytes.size()}}};
    at += tensor.bytes.size();
  }
  std::string text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  bytes += text;
  for (const auto& [name, tensor] : file.tensors) bytes += tensor.bytes;
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const SafeTensors& file) {
  write_file_atomic(path, format_safetensors(file));
}

}  // namespace fewshift
