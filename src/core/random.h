// Random numbers that depend on a key alone, never on which thread asked first.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <utility>

namespace fewshift {

// SplitMix64 (Steele, Lea and Flood 2014), seeded by mixing the parts of a key: (seed, epoch, image), say.
// The same key gives the same sequence on every machine.
class Random {
 public:
  Random(std::initializer_list<uint64_t> key) {
    for (uint64_t part : key) state_ = mix(state_ ^ mix(part + kGolden));
  }
  uint64_t next() { return mix(state_ += kGolden); }
  // In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // In [0, n), n > 0; the bias, below n / 2^64, does not matter here.
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }
  bool chance(double p) { return uniform() < p; }
  double normal() {  // Box and Muller
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  static constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  uint64_t state_ = 0;
};

// Fisher and Yates: for the same key the same order.
template <class Container>
void shuffle(Container& items, Random& random) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

}  // namespace fewshift
