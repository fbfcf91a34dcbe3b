// SPDX-License-Identifier: Apache-2.0
#include "data/near_duplicates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "image/resize.h"

namespace fewshift {
namespace {

constexpr int kMostBits = 6, kThumbnail = 32;
constexpr double kCorrelation = 0.98, kCoarse = 0.95;  // of 32 x 32 px, and before that of 8 x 8
// Hashes that differ in at most 6 bits agree in one of 7 bands at least.
constexpr int kBands = kMostBits + 1;

uint64_t band(uint64_t hash, int k) {
  const int begin = 64 * k / kBands, end = 64 * (k + 1) / kBands;
  return hash << (64 - end) >> (64 - end + begin);
}

// Of the colours of two pictures of one size, each channel less its mean. Flat ones are alike among
// themselves.
double correlation(const uint8_t* a, const uint8_t* b, size_t pixels) {
  double products = 0, a_squares = 0, b_squares = 0;
  for (size_t c = 0; c < 3; ++c) {
    int64_t a_sum = 0, b_sum = 0, product = 0, a_square = 0, b_square = 0;
    for (size_t k = c; k < 3 * pixels; k += 3) {
      a_sum += a[k], b_sum += b[k];
      product += a[k] * b[k], a_square += a[k] * a[k], b_square += b[k] * b[k];
    }
    const auto n = static_cast<double>(pixels), x = static_cast<double>(a_sum),
               y = static_cast<double>(b_sum);
    products += static_cast<double>(product) - x * y / n;
    a_squares += static_cast<double>(a_square) - x * x / n;
    b_squares += static_cast<double>(b_square) - y * y / n;
  }
  if (a_squares <= 0 || b_squares <= 0) return a_squares == b_squares ? 1 : 0;
  return products / std::sqrt(a_squares * b_squares);
}

// The looks closer, at pictures that are opened once each.
class Closer {
 public:
  explicit Closer(const std::function<std::shared_ptr<const Image>(size_t)>& open) : open_(open) {}
  bool alike(size_t i, size_t j) {
    const std::vector<uint8_t>&a = small(i), &b = small(j);
    return !a.empty() && !b.empty() &&
           correlation(a.data(), b.data(), kThumbnail * kThumbnail) >= kCorrelation;
  }

 private:
  const std::vector<uint8_t>& small(size_t k) {
    const auto [found, is_new] = small_.try_emplace(k);
    if (is_new) {
      if (const auto image = open_(k)) found->second = resize(*image, kThumbnail, kThumbnail).pixels;
    }
    return found->second;
  }
  const std::function<std::shared_ptr<const Image>(size_t)>& open_;
  std::map<size_t, std::vector<uint8_t>> small_;
};

}  // namespace

Likeness likeness(const Image& image) {
  const Image steps = resize(image, 9, 8), cells = resize(image, 8, 8);
  auto grey = [&](int y, int x) {
    const uint8_t* const p = &steps.pixels[(y * 9 + x) * 3];
    return 299 * p[0] + 587 * p[1] + 114 * p[2];
  };
  Likeness l;
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) l.hash = l.hash << 1 | static_cast<uint64_t>(grey(y, x + 1) > grey(y, x));
  }
  std::copy(cells.pixels.begin(), cells.pixels.end(), l.cells.begin());
  return l;
}

std::vector<std::vector<size_t>> near_duplicates(
    const std::vector<Likeness>& pictures, const std::function<std::shared_ptr<const Image>(size_t)>& open) {
  Closer closer(open);
  auto alike = [&](size_t i, size_t j) {
    const Likeness &a = pictures[i], &b = pictures[j];
    return correlation(a.cells.data(), b.cells.data(), a.cells.size() / 3) >= kCoarse && closer.alike(i, j);
  };
  std::vector<size_t> parent(pictures.size());  // of a forest, a tree a group
  std::iota(parent.begin(), parent.end(), 0);
  auto root = [&](size_t k) {
    while (parent[k] != k) k = parent[k] = parent[parent[k]];
    return k;
  };
  for (int k = 0; k < kBands; ++k) {
    std::unordered_map<uint64_t, std::vector<size_t>> buckets;
    for (size_t i = 0; i < pictures.size(); ++i) {
      std::vector<size_t>& bucket = buckets[band(pictures[i].hash, k)];
      for (size_t j : bucket) {
        if (std::popcount(pictures[i].hash ^ pictures[j].hash) <= kMostBits && root(i) != root(j) &&
            alike(i, j))
          parent[root(i)] = root(j);
      }
      bucket.push_back(i);
    }
  }
  std::map<size_t, std::vector<size_t>> trees;
  for (size_t i = 0; i < pictures.size(); ++i) trees[root(i)].push_back(i);
  std::vector<std::vector<size_t>> groups;
  for (auto& [top, members] : trees) {
    if (members.size() > 1) groups.push_back(std::move(members));
  }
  std::sort(groups.begin(), groups.end());
  return groups;
}

}  // namespace fewshift
