// SPDX-License-Identifier: Apache-2.0
#include "ops/planes.h"

#include <algorithm>

#include "core/target_clones.h"

namespace fewshift {
namespace {

// So many cache lines that planes do not fall upon the same sets of a cache.
int64_t spaced(int64_t floats) {
  return (round_up(floats, 16) / 16 | 1) * 16;
}

FEWSHIFT_CLONES float scaled_row(const float* x, int64_t n, float scale, float bias, float* to) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    const float value = scale * x[j] + bias;
    to[j] = value;
    sum += value;
  }
  return sum;
}

FEWSHIFT_CLONES void combined_row(const float* x, const float* y, int64_t n, float a, float b, float centre,
                                  float c, float* to) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) to[j] = a * x[j] + (b * (y[j] - centre) + c);
}

FEWSHIFT_CLONES float sum_of(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += x[j];
  return sum;
}

FEWSHIFT_CLONES float squares_of(const float* x, int64_t n, float centre) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += (x[j] - centre) * (x[j] - centre);
  return sum;
}

FEWSHIFT_CLONES void products_of(const float* x, const float* y, int64_t n, float centre, double* results) {
  double sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (int64_t j = 0; j < n; ++j) {
    sum += x[j];
    product += x[j] * (y[j] - centre);
  }
  results[0] += sum, results[1] += product;
}

FEWSHIFT_CLONES float every_second(const float* x, int64_t n, float scale, float bias, float* to) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    const float value = scale * x[2 * j] + bias;
    to[j] = value;
    sum += value;
  }
  return sum;
}

FEWSHIFT_CLONES void to_every_second(const float* from, int64_t n, float* x) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) x[2 * j] = from[j];
}

// Rows one after the other in both places are one long row.
template <class F>
void each_row(const Pixels& p, const Planes& planes, F f) {
  if (p.step == 1 && planes.narrow_row == p.columns && p.columns == p.width)
    return f(0, 0, p.rows * p.columns);
  for (int64_t i = 0; i < p.rows; ++i) f(i * p.step * p.width, i * planes.narrow_row, p.columns);
}

constexpr int64_t kRun = 4096;  // pixels summed in float

}  // namespace

Planes::Planes(int64_t images_, int64_t height_, int64_t width_, int64_t margin_y, int64_t margin_x,
               int lanes_)
    : images(images_), height(height_), width(width_), lanes(lanes_), pitch(width + margin_x) {
  const bool rows = width % lanes == 0;
  narrow_row = rows ? width : pitch;
  narrow_image = round_up(height * narrow_row, lanes);
  image_vectors = narrow_image / lanes;
  wide_image = std::max(rows ? 0 : narrow_image, (height + margin_y) * pitch);
  origin = round_up(margin_y * pitch + margin_x, 8);
  wide_floats = spaced(origin + images * wide_image + margin_y * pitch + margin_x + lanes);
  narrow_floats = spaced(images * narrow_image);
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t at = 0; at < narrow_image; at += lanes) {
      narrow.push_back(static_cast<int32_t>(n * narrow_image + at));
      const int64_t place = rows ? at / narrow_row * pitch + at % narrow_row : at;
      wide.push_back(static_cast<int32_t>(origin + n * wide_image + place));
    }
  }
}

std::vector<float> Planes::masks(int64_t rows, int64_t columns) const {
  if (rows == height && columns == width && narrow_image == height * width) return {};
  std::vector<float> masks;
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t at = 0; at < narrow_image; ++at)
      masks.push_back(at / narrow_row < rows && at % narrow_row < columns ? 1.0f : 0.0f);
  }
  return masks;
}

bool Planes::fills(const Pixels& p) const {
  return p.step == 1 && p.columns == p.width && p.columns == narrow_row && p.rows * p.columns == narrow_image;
}

std::vector<int32_t> Planes::places(int64_t image) const {
  std::vector<int32_t> places;
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t at = 0; at < narrow_image; at += lanes)
      places.push_back(static_cast<int32_t>(n * image + at));
  }
  return places;
}

double pack_plane(const float* x, const Pixels& pixels, const Planes& planes, float scale, float bias,
                  float* to) {
  double sum = 0;
  each_row(pixels, planes, [&](int64_t from, int64_t at, int64_t count) {
    for (int64_t j = 0; j < count; j += kRun) {
      const int64_t some = std::min(kRun, count - j);
      sum += pixels.step == 1 ? scaled_row(x + from + j, some, scale, bias, to + at + j)
                              : every_second(x + from + 2 * j, some, scale, bias, to + at + j);
    }
  });
  return sum;
}

void pack_plane(const float* x, const float* y, const Pixels& pixels, const Planes& planes, float a, float b,
                float centre, float c, float* to) {
  each_row(pixels, planes, [&](int64_t from, int64_t at, int64_t count) {
    combined_row(x + from, y + from, count, a, b, centre, c, to + at);
  });
}

void unpack_plane(const float* from, const Planes& planes, const Pixels& pixels, float* x) {
  each_row(pixels, planes, [&](int64_t to, int64_t at, int64_t count) {
    if (pixels.step == 1) {
      std::copy_n(from + at, count, x + to);
    } else {
      to_every_second(from + at, count, x + to);
    }
  });
}

void combine(const float* x, const float* y, int64_t n, float a, float b, float c, float* to) {
  combined_row(x, y, n, a, b, 0.0f, c, to);
}
void combine(const float* x, int64_t n, float a, float c, float* to) {
  scaled_row(x, n, a, c, to);
}

void Moments::add(const float* x, int64_t n) {
  for (int64_t j = 0; j < n; j += kRun) {
    const int64_t some = std::min(kRun, n - j);
    Moments run;
    run.count = static_cast<double>(some);
    run.mean = sum_of(x + j, some) / run.count;
    const double centre = static_cast<float>(run.mean), off = run.mean - centre;
    run.squares = squares_of(x + j, some, static_cast<float>(centre)) - off * off * run.count;
    add(run);
  }
}

void Moments::add(const Moments& more) {
  if (more.count == 0) return;
  const double all = count + more.count, apart = more.mean - mean;
  mean += apart * more.count / all;
  squares += more.squares + apart * apart * count * more.count / all;
  count = all;
}

void add_products(const float* x, const float* y, int64_t n, float centre, double& sum, double& product) {
  double results[] = {sum, product};
  products_of(x, y, n, centre, results);
  sum = results[0], product = results[1];
}

}  // namespace fewshift
