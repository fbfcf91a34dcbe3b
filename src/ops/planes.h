// Maps as planes of pixels, for the kernels of kernels/planar.h: some images at a time, every channel a
// plane. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift {

inline int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Some pixels of one image's channel: every step-th one of every step-th row of a map so wide.
struct Pixels {
  int64_t rows, columns, width, step = 1;
};

// Where the pixels of `images` maps of height x width stand in a plane, twice: narrow, without a margin, and
// wide, with margin_y rows and margin_x columns of zeros around each map, which neighbours share. Both have
// the same vectors of pixels in the same order, image by image. A narrow row is the map's own where vectors
// fill it, or two rows a vector: then a wide vector's second half is `half` floats behind its first.
// Otherwise vectors run on over rows and wide margins.
struct Planes {
  Planes(int64_t images, int64_t height, int64_t width, int64_t margin_y, int64_t margin_x, int lanes);

  // [images * image_vectors][lanes]: 1 for pixels of the first rows and columns, else 0; empty if all are 1.
  std::vector<float> masks(int64_t rows, int64_t columns) const;

  // Whether a narrow plane holds these pixels, all of them, as their map does.
  bool fills(const Pixels& pixels) const;
  // Where the same vectors stand in a channel of a tensor whose images are `image` floats apart, if it does.
  std::vector<int32_t> places(int64_t image) const;

  int64_t images, height, width;
  int lanes;
  int64_t pitch, wide_image, origin;   // floats: wide row, wide map, first wide pixel
  int64_t narrow_row, narrow_image;    // floats
  int64_t wide_floats, narrow_floats;  // of a plane
  int64_t image_vectors;
  int32_t half = 0;
  std::vector<int32_t> wide, narrow;  // [images * image_vectors]
};

// From a map to a narrow plane: to = scale * x + bias.
void pack_plane(const float* x, const Pixels& pixels, const Planes& planes, float scale, float bias,
                float* to);
// to = x + bias, of all pixels of a map; returns the sum of what was written.
double pack_plane(const float* x, const Pixels& pixels, const Planes& planes, float bias, float* to);
// to = a * x + b * (y - centre) + c, likewise.
void pack_plane(const float* x, const float* y, const Pixels& pixels, const Planes& planes, float a, float b,
                float centre, float c, float* to);
// And back.
void unpack_plane(const float* from, const Planes& planes, const Pixels& pixels, float* x);

// to = a * x + b * y + c, and a * x + c, over n numbers.
void combine(const float* x, const float* y, int64_t n, float a, float b, float c, float* to);
void combine(const float* x, int64_t n, float a, float c, float* to);

// Number of values, mean and sum of squared deviations of what was added, in double.
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void add(const float* x, int64_t n);
  void add(const Moments& more);
};

// Sums of x, and of x * (y - centre).
void add_products(const float* x, const float* y, int64_t n, float centre, double& sum, double& product);

}  // namespace fewshift
