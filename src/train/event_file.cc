// SPDX-License-Identifier: Apache-2.0
#include "train/event_file.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <protozero/pbf_writer.hpp>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void put_little_endian(uint64_t value, size_t bytes, std::string& to) {
  for (size_t k = 0; k < bytes; ++k) to += static_cast<char>(value >> (8 * k) & 0xFF);
}

// CRCs of data that hold CRCs are troublesome, so TensorFlow's records rotate them and add a constant.
uint32_t masked(uint32_t crc) {
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t k = 0; k < 256; ++k) {
    uint32_t value = k;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
    table[k] = value;
  }
  return table;
}

// CRC-32C (Castagnoli), as iSCSI's.
uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = make_table();
  uint32_t crc = ~0u;
  for (char c : bytes) crc = table[(crc ^ static_cast<uint8_t>(c)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(ErrorCode::kIo, folder.string(), "cannot make the folder: " + error.message());
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const auto seconds = static_cast<int64_t>(now());
  path_ = folder /
          ("events.out.tfevents." + std::to_string(seconds) + "." + host + "." + std::to_string(::getpid()));
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, now());
  writer.add_string(3, "brain.Event:2");
  append(event);
}

void EventFile::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  protozero::pbf_writer all(summary);
  for (const auto& [name, value] : values) {
    protozero::pbf_writer one(all, 1);
    one.add_string(1, name);
    one.add_float(2, static_cast<float>(value));
  }
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, now());
  writer.add_int64(2, step);
  writer.add_message(5, summary);
  append(event);
}

void EventFile::append(const std::string& event) {
  std::string record;
  put_little_endian(event.size(), 8, record);
  put_little_endian(masked(crc32c(record)), 4, record);
  record += event;
  put_little_endian(masked(crc32c(event)), 4, record);
  append_file(path_, record);
}

}  // namespace fewshift
