// SPDX-License-Identifier: Apache-2.0
#include "ops/planes.h"

#include <algorithm>
#include <utility>

#include "core/target_clones.h"

namespace fewshift {
namespace {

// So many cache lines that planes do not fall upon the same sets of a cache.
int64_t spaced(int64_t floats) {
  return (round_up(floats, 16) / 16 | 1) * 16;
}

// Rows of `columns` values, so far apart.
struct PlaneRows {
  int64_t rows, columns, from, to;
};

// to = scale * x + bias, of every kStep-th value of x's rows. Returns the sum of it if kSums.
template <int kStep, bool kSums>
inline __attribute__((always_inline)) double scale_rows(const float* x, PlaneRows r, float scale, float bias,
                                                        float* to) {
  double total = 0;
  for (int64_t i = 0; i < r.rows; ++i, x += r.from, to += r.to) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < r.columns; ++j) {
      const float value = scale * x[kStep * j] + bias;
      to[j] = value;
      if (kSums) sum += value;
    }
    total += sum;
  }
  return total;
}
FEWSHIFT_CLONES void scaled_rows(const float* x, PlaneRows r, float scale, float bias, float* to) {
  scale_rows<1, false>(x, r, scale, bias, to);
}
FEWSHIFT_CLONES double summed_rows(const float* x, PlaneRows r, float bias, float* to) {
  return scale_rows<1, true>(x, r, 1.0f, bias, to);
}
FEWSHIFT_CLONES void every_second(const float* x, PlaneRows r, float scale, float bias, float* to) {
  scale_rows<2, false>(x, r, scale, bias, to);
}

FEWSHIFT_CLONES void combined_rows(const float* x, const float* y, PlaneRows r, float a, float b,
                                   float centre, float c, float* to) {
  for (int64_t i = 0; i < r.rows; ++i, x += r.from, y += r.from, to += r.to) {
#pragma omp simd
    for (int64_t j = 0; j < r.columns; ++j) to[j] = a * x[j] + (b * (y[j] - centre) + c);
  }
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

FEWSHIFT_CLONES void to_every_second(const float* from, PlaneRows r, float* x) {
  for (int64_t i = 0; i < r.rows; ++i, from += r.from, x += r.to) {
#pragma omp simd
    for (int64_t j = 0; j < r.columns; ++j) x[2 * j] = from[j];
  }
}

constexpr int64_t kRun = 4096;  // pixels summed in float

// From a map to a narrow plane. Rows one after the other in both places are one long row.
PlaneRows rows_of(const Pixels& p, const Planes& planes) {
  if (p.step == 1 && planes.narrow_row == p.columns && p.columns == p.width)
    return {1, p.rows * p.columns, 0, 0};
  return {p.rows, p.columns, p.step * p.width, planes.narrow_row};
}

}  // namespace

Planes::Planes(int64_t images_, int64_t height_, int64_t width_, int64_t margin_y, int64_t margin_x,
               int lanes_)
    : images(images_), height(height_), width(width_), lanes(lanes_), pitch(width + margin_x) {
  const bool two_rows = 2 * width == lanes && height % 2 == 0, rows = width % lanes == 0 || two_rows;
  if (two_rows) half = static_cast<int32_t>(pitch);
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

void pack_plane(const float* x, const Pixels& pixels, const Planes& planes, float scale, float bias,
                float* to) {
  const PlaneRows r = rows_of(pixels, planes);
  return pixels.step == 1 ? scaled_rows(x, r, scale, bias, to) : every_second(x, r, scale, bias, to);
}

double pack_plane(const float* x, const Pixels& pixels, const Planes& planes, float bias, float* to) {
  PlaneRows r = rows_of(pixels, planes);
  double sum = 0;
  for (; r.rows == 1 && r.columns > kRun; x += kRun, to += kRun, r.columns -= kRun)
    sum += summed_rows(x, {1, kRun, 0, 0}, bias, to);
  return sum + summed_rows(x, r, bias, to);
}

void pack_plane(const float* x, const float* y, const Pixels& pixels, const Planes& planes, float a, float b,
                float centre, float c, float* to) {
  combined_rows(x, y, rows_of(pixels, planes), a, b, centre, c, to);
}

void unpack_plane(const float* from, const Planes& planes, const Pixels& pixels, float* x) {
  PlaneRows r = rows_of(pixels, planes);
  std::swap(r.from, r.to);
  return pixels.step == 1 ? scaled_rows(from, r, 1.0f, 0.0f, x) : to_every_second(from, r, x);
}

void combine(const float* x, const float* y, int64_t n, float a, float b, float c, float* to) {
  combined_rows(x, y, {1, n, 0, 0}, a, b, 0.0f, c, to);
}
void combine(const float* x, int64_t n, float a, float c, float* to) {
  scaled_rows(x, {1, n, 0, 0}, a, c, to);
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
