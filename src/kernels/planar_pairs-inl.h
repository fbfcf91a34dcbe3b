// Tiles of products and dots over pairs of bfloat16s, two multiply-adds in one instruction. No include guard:
// planar.cc reads this for each way of multiplying, `add_pairs(a, b, sum)`, that stands before it.
// SPDX-License-Identifier: Apache-2.0

struct Pairs {
  template <bool kHalves = false>
  static HWY_INLINE Words pair(const float* low, const float* high, int64_t half = 0) {
    return hn::Or(hn::ShiftRight<16>(words<kHalves>(low, half)), words<kHalves>(high, half));
  }
  template <bool kHalves = false>
  static HWY_INLINE Words single(const float* low, int64_t half = 0) {
    return hn::ShiftRight<16>(words<kHalves>(low, half));
  }

  template <int kVectors>
  static HWY_INLINE void add(const Words (&in)[kVectors], const float* weights,
                             Vector (&sums)[kHeight][kVectors]) {
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) {
      const Words w = hn::BitCast(hn::RebindToUnsigned<D>(), hn::Set(D(), weights[i]));
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = add_pairs(w, in[j], sums[i][j]);
    }
  }

  template <int kVectors, Ending kEnding, bool kHalvesX, bool kHalvesY>
  static HWY_NOINLINE void product_tile(const PlanarProduct& a, int64_t o, int64_t v) {
    Vector sums[kHeight][kVectors];
    const float* x[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) x[j] = held(a.x + a.x_vectors[v + j]);
    begin_tile<kVectors, kEnding, kHalvesY>(a, o, v, sums);
    const float* weights = a.weights + o * ((a.inputs + 1) / 2);
    const int64_t half = a.x_half;
    Words in[kVectors];
    int64_t k = 0;
#pragma GCC unroll 4
    for (; k + 1 < a.inputs; k += 2, weights += kHeight) {
      const int64_t low = a.x_offsets[k], high = a.x_offsets[k + 1];
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) in[j] = pair<kHalvesX>(x[j] + low, x[j] + high, half);
      add<kVectors>(in, weights, sums);
    }
    if (k < a.inputs) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) in[j] = single<kHalvesX>(x[j] + a.x_offsets[k], half);
      add<kVectors>(in, weights, sums);
    }
    end_tile<kVectors, kEnding, kHalvesY>(a, o, v, sums);
  }

  // Two vectors of pixels at a time.
  template <int kColumns, bool kHalves>
  static HWY_NOINLINE void dots_tile(const PlanarDots& a, int64_t i0, int64_t j0) {
    Vector sums[kHeight][kColumns];
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) sums[i][j] = hn::Zero(D());
    }
    const float *left[kHeight], *right[kColumns];
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) left[i] = held(a.a + (i0 + i) * a.a_plane);
#pragma GCC unroll 16
    for (int j = 0; j < kColumns; ++j) right[j] = held(a.b + a.b_offsets[j0 + j]);
    const int64_t half = a.b_half;
    Words in[kColumns];
    int64_t v = 0;
#pragma GCC unroll 2
    for (; v + 1 < a.vectors; v += 2) {
      const int64_t low = a.b_vectors[v], high = a.b_vectors[v + 1];
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) in[j] = pair<kHalves>(right[j] + low, right[j] + high, half);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        const Words value = words(left[i] + v / 2 * kLanes);
#pragma GCC unroll 16
        for (int j = 0; j < kColumns; ++j) sums[i][j] = add_pairs(value, in[j], sums[i][j]);
      }
    }
    if (v < a.vectors) {
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) in[j] = single<kHalves>(right[j] + a.b_vectors[v], half);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        const Words value = words(left[i] + v / 2 * kLanes);
#pragma GCC unroll 16
        for (int j = 0; j < kColumns; ++j) sums[i][j] = add_pairs(value, in[j], sums[i][j]);
      }
    }
    end_dots<kColumns>(a, i0, j0, sums);
  }
};
