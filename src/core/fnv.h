// A hash that is the same on every machine and in every version: it names files, and goes into checkpoints.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fewshift {

// The steps of FNV-1a with 64 bits (Fowler, Noll and Vo), from a basis of our own.
class Fnv {
 public:
  void add(uint64_t word) { value_ = (value_ ^ word) * 1099511628211u; }
  void add(std::string_view bytes) {
    for (const char c : bytes) add(uint64_t{static_cast<uint8_t>(c)});
  }
  // Eight bytes at a time: another hash than that of single bytes, in an eighth of the time.
  void add_words(std::string_view bytes) {
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
      uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      add(word);
    }
    add(bytes);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 1469598103934665603u;
};

inline uint64_t fnv(std::string_view bytes) {
  Fnv hash;
  hash.add(bytes);
  return hash.value();
}

}  // namespace fewshift
