// Maps as planes of pixels, for the kernels of kernels/planar.h: some images at a time, every channel a
// plane. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace fewshift {

// Where the pixels of `images` maps of height x width stand in a plane, twice: narrow, without a margin, and
// wide, with margin_y rows and margin_x columns of zeros around each map, which neighbours share. Both have
// the same vectors of pixels in the same order, image by image. A narrow row is that of the tensor where
// vectors fill it (or `padded` asks for whole vectors); otherwise vectors run on over rows and wide margins,
// and lanes that are no pixels have a mask of zero.
struct Planes {
  Planes(int64_t images, int64_t height, int64_t width, int64_t margin_y, int64_t margin_x, int lanes,
         bool padded = false);

  int64_t images, height, width;
  int64_t pitch, wide_image, origin;   // floats: wide row, wide map, first wide pixel
  int64_t narrow_row, narrow_image;    // floats
  int64_t wide_floats, narrow_floats;  // of a plane, with room for vectors that reach beyond its end
  int64_t image_vectors;
  std::vector<int32_t> wide, narrow;  // [images * image_vectors]
  std::vector<float> masks;           // [images * image_vectors][lanes], or empty: all 1
};

// Of one image's channel, from the tensor's plane to a narrow one: to = scale * x + bias at its pixels.
// Returns the sum of what was written.
double pack_plane(const float* x, const Planes& planes, float scale, float bias, float* to);
// to = a * x + b * y + c, likewise.
void pack_plane(const float* x, const float* y, const Planes& planes, float a, float b, float c, float* to);
// And back.
void unpack_plane(const float* from, const Planes& planes, float* x);

// Number of values, mean and sum of squared deviations of what was added, in double.
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void add(const float* x, int64_t n);
  void add(const Moments& more);
};

// Sums of x, and of x * (y - centre).
void add_products(const float* x, const float* y, int64_t n, float centre, double& sum, double& product);

}  // namespace fewshift
