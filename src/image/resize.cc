// Separable resampling in fixed point, with Pillow's weights and rounding.
// SPDX-License-Identifier: Apache-2.0
#include "image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "image/limits.h"

namespace fewshift {
namespace {

constexpr int kBits = 22;  // of a weight's fraction: 8 for the sample and 2 to spare make 32
constexpr int kHalf = 1 << (kBits - 1);

// For every output position the first input sample, and one row of `taps` weights (zeros where fewer are
// needed).
struct Filter {
  int taps = 0;
  std::vector<int> first, count;
  std::vector<int> weights;  // [out][taps], fixed point, summing to about 1
};

// A filter's height at distance x from its middle, in samples of the smaller picture.
double triangle(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}
double cubic(double x) {
  constexpr double a = -0.5;  // Catmull and Rom's
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

Filter make_filter(int input, double from, double length, int output, Interpolation interpolation) {
  const bool bicubic = interpolation == Interpolation::kBicubic;
  const double scale = length / output, stretch = std::max(scale, 1.0), narrow = 1.0 / stretch;
  const double support = bicubic ? 2 * stretch : stretch;  // to either side
  // Beyond, the rounded weights no longer sum to 1 and the filter itself fills the memory.
  if (support > 1 << 20 || length > 1 << 25) {
    throw Error(ErrorCode::kInvalidArgument, "resize", "the picture is too long to be shrunk");
  }
  Filter filter;
  filter.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  filter.first.resize(output);
  filter.count.resize(output);
  filter.weights.resize(size_t(output) * filter.taps);
  std::vector<double> row(filter.taps);
  for (int i = 0; i < output; ++i) {
    const double centre = from + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(input, static_cast<int>(centre + support + 0.5)) - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      const double x = (first + k - centre + 0.5) * narrow;
      row[k] = bicubic ? cubic(x) : triangle(x);
      sum += row[k];
    }
    filter.first[i] = first;
    filter.count[i] = count;
    int* weights = &filter.weights[size_t(i) * filter.taps];
    for (int k = 0; k < count; ++k) {
      const double weight = row[k] / sum * (1 << kBits);
      weights[k] = static_cast<int>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return filter;
}

uint8_t round_sample(int sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

Image resize_rows(const Image& image, const Filter& filter, int top, int height) {
  const int width = static_cast<int>(filter.first.size());
  Image out{width, height, std::vector<uint8_t>(size_t(width) * height * 3)};
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < height; ++y) {
    const uint8_t* row = &image.pixels[size_t(top + y) * image.width * 3];
    for (int x = 0; x < width; ++x, to += 3) {
      const int* weight = &filter.weights[size_t(x) * filter.taps];
      const uint8_t* from = row + size_t(filter.first[x]) * 3;
      int r = kHalf, g = kHalf, b = kHalf;
      for (int k = 0; k < filter.count[x]; ++k, from += 3) {
        r += weight[k] * from[0];
        g += weight[k] * from[1];
        b += weight[k] * from[2];
      }
      to[0] = round_sample(r);
      to[1] = round_sample(g);
      to[2] = round_sample(b);
    }
  }
  return out;
}

// Row 0 of `image` is row `top` of what the filter was made for.
Image resize_columns(const Image& image, const Filter& filter, int top) {
  const int height = static_cast<int>(filter.first.size());
  const size_t row_bytes = size_t(image.width) * 3;
  Image out{image.width, height, std::vector<uint8_t>(row_bytes * height)};
  std::vector<int> sums(row_bytes);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int k = 0; k < filter.count[y]; ++k) {
      const int weight = filter.weights[size_t(y) * filter.taps + k];
      const uint8_t* from = &image.pixels[size_t(filter.first[y] - top + k) * row_bytes];
      for (size_t i = 0; i < row_bytes; ++i) sums[i] += weight * from[i];
    }
    uint8_t* to = &out.pixels[y * row_bytes];
    for (size_t i = 0; i < row_bytes; ++i) to[i] = round_sample(sums[i]);
  }
  return out;
}

void check_resize(const Image& image, const Box& box, int width, int height) {
  const bool inside = box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 &&
                      box.left + box.width <= image.width && box.top + box.height <= image.height;
  if (!inside) throw Error(ErrorCode::kInvalidArgument, "resize", "the box is empty or leaves the picture");
  if (width < 1 || height < 1 || int64_t{width} * height > kMaxPixels) {
    throw Error(ErrorCode::kInvalidArgument, "resize",
                "cannot make a picture of " + std::to_string(width) + " x " + std::to_string(height));
  }
}

}  // namespace

Image resize(const Image& image, const Box& box, int width, int height, Interpolation interpolation) {
  check_resize(image, box, width, height);
  const bool same_width = width == image.width && box.left == 0 && box.width == width;
  const bool same_height = height == image.height && box.top == 0 && box.height == height;
  if (same_width && same_height) return image;
  const Filter across = make_filter(image.width, box.left, box.width, width, interpolation);
  const Filter down = make_filter(image.height, box.top, box.height, height, interpolation);
  if (same_height) return resize_rows(image, across, 0, image.height);
  if (same_width) return resize_columns(image, down, 0);
  const int top = down.first.front(), rows = down.first.back() + down.count.back() - top;
  // Rows first, as Pillow; columns first where a very long picture would become a very large one between.
  if (int64_t{width} * rows > kMaxPixels) {
    return resize_rows(resize_columns(image, down, 0), across, 0, height);
  }
  return resize_columns(resize_rows(image, across, top, rows), down, top);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize(image, Box{0, 0, double(image.width), double(image.height)}, width, height, interpolation);
}

Image resize_short_side(const Image& image, int side) {
  const int shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
  if (shorter < 1 || side < 1) throw Error(ErrorCode::kInvalidArgument, "resize", "a side of 0 px");
  const double wanted = std::floor(double(longer) * side / shorter);
  if (wanted * side > double(kMaxPixels)) {
    throw Error(ErrorCode::kInvalidArgument, "resize", "the picture is too long and thin to enlarge");
  }
  const int other = std::max(side, static_cast<int>(wanted));
  return image.width <= image.height ? resize(image, side, other) : resize(image, other, side);
}

Image crop(const Image& image, int left, int top, int width, int height) {
  if (width < 1 || height < 1 || int64_t{width} * height > kMaxPixels) {
    throw Error(ErrorCode::kInvalidArgument, "crop",
                "cannot make a picture of " + std::to_string(width) + " x " + std::to_string(height));
  }
  Image out{width, height, std::vector<uint8_t>(size_t(width) * height * 3)};
  const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min<int64_t>(int64_t{left} + width, image.width);
  const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min<int64_t>(int64_t{top} + height, image.height);
  if (x0 >= x1) return out;
  for (int64_t y = y0; y < y1; ++y) {
    std::memcpy(&out.pixels[((y - top) * width + x0 - left) * 3], &image.pixels[(y * image.width + x0) * 3],
                size_t(x1 - x0) * 3);
  }
  return out;
}

Image flip_horizontal(const Image& image) {
  Image out{image.width, image.height, std::vector<uint8_t>(image.pixels.size())};
  const size_t row_bytes = size_t(image.width) * 3;
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* from = image.pixels.data() + y * row_bytes;
    uint8_t* to = out.pixels.data() + (y + 1) * row_bytes;
    for (int x = 0; x < image.width; ++x, from += 3) std::memcpy(to -= 3, from, 3);
  }
  return out;
}

}  // namespace fewshift
