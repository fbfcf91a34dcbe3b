// Products and sums over maps whose pixels lie along the vectors, for training: every channel is a plane, a
// channel's displacement is an offset of its plane, and a ReLU's mask, a border's mask and the displacement's
// gradient are whole vectors whatever direction each channel takes. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstdint>

namespace fewshift {

// What products multiply; sums are always float32.
enum class PlanarOperands {
  kFloat,
  kBf16,   // floats whose values are bfloat16s, so that a product is exact
  kPairs,  // the same, weights in pairs: what a processor that multiplies bfloat16 takes (AVX512-BF16)
};

// y[o,v] = start + sum over k of w[o,k] * x[k,v], and one of the endings; x[k,v] is the vector at
// x + x_offsets[k] + x_vectors[v], y[o,v] that at y + o * y_plane + y_vectors[v].
struct PlanarProduct {
  enum class Ending {
    kStore,  // as it is
    kRelu,   // max(., 0), and zero where `masks` is
    kMask,   // zero where gate[o,v] is not above zero; sums[o] += what is left, lane by lane
  };
  Ending ending = Ending::kStore;
  const float* x = nullptr;
  const int32_t* x_offsets = nullptr;  // [inputs]
  const int32_t* x_vectors = nullptr;  // [vectors]
  int32_t x_half = 0;                  // as y_half; then y_half is 0 and the ending kStore
  const float* weights = nullptr;      // as pack_planar puts them, for these operands
  PlanarOperands operands = PlanarOperands::kFloat;
  const float* bias = nullptr;  // kRelu: [outputs] where the sums start; else at 0, or,
  bool adds = false;            // kStore: at what stands in y
  bool rounds = false;          // what is stored becomes the nearest bfloat16, before sums
  float* y = nullptr;
  int64_t y_plane = 0;
  const int32_t* y_vectors = nullptr;  // [vectors]
  int32_t y_half = 0;  // where not 0, a vector's second half is so many floats behind its first; gate's too
  const float* masks = nullptr;                  // kRelu: [vectors][lanes] of 1 and 0, or nothing: all 1
  const float* gate = nullptr;                   // kMask: at gate + gate_offsets[o] + gate_vectors[v]
  const int32_t* gate_offsets = nullptr;         // [outputs]
  const int32_t* gate_vectors = nullptr;         // [vectors]
  float* sums = nullptr;                         // kMask: [outputs][lanes]
  int64_t inputs = 0, outputs = 0, vectors = 0;  // outputs: a multiple of planar_height
};

// out[j * out_column + i] += sum over v of a[i,v] * b[j,v]; a[i,v] is the v-th vector of the plane at
// a + i * a_plane, which for kPairs holds what planar_pair makes of it; b[j,v] is that at b + b_offsets[j] +
// b_vectors[v].
struct PlanarDots {
  PlanarOperands operands = PlanarOperands::kFloat;
  const float* a = nullptr;
  int64_t a_plane = 0;
  const float* b = nullptr;
  const int32_t* b_offsets = nullptr;
  const int32_t* b_vectors = nullptr;
  int32_t b_half = 0;  // as PlanarProduct::y_half
  float* out = nullptr;
  int64_t out_column = 0;
  int64_t rows = 0, columns = 0, vectors = 0;  // rows: a multiple of planar_height
};

// What happens to a displaced channel's gradient behind the product that makes it: dot[t] = sum over v of
// g[v] * z[offsets[t] + v] for each of `taps` offsets; then, with `gated`, g[v] becomes zero where
// z[gate + v] is not above zero, and `sum` is that of what is left. Vector v is at g + places[v], z +
// places[v].
struct PlanarTaps {
  static constexpr int kMost = 9;
  float* g = nullptr;        // the channel's plane, and
  const float* z = nullptr;  // that of what it was made from
  const int32_t* places = nullptr;
  int32_t half = 0;  // as PlanarProduct::y_half
  int64_t vectors = 0;
  int taps = 0;
  int32_t offsets[kMost] = {};
  bool gated = false;
  int32_t gate = 0;
  // Where rows are whole vectors: so many in a row, rows in a map, and floats from a row to the next.
  int64_t row_vectors = 0, rows = 0;
  int32_t pitch = 0;
  double dots[kMost] = {}, sum = 0;  // results
};

// y[v] = sum over t of weights[t] * x[offsets[t] + v].
struct PlanarSample {
  static constexpr int kMost = 9;
  const float* x = nullptr;
  const int32_t* x_vectors = nullptr;
  float* y = nullptr;
  const int32_t* y_vectors = nullptr;
  int32_t x_half = 0, y_half = 0;  // as PlanarProduct's; y_half is 0 or x_half
  int64_t vectors = 0;
  int taps = 0;
  int32_t offsets[kMost] = {};
  float weights[kMost] = {};
};

// Channels' vectors, between their planes (v at planes + c * plane + places[v]) and
// [channels][vectors][lanes] of float or bfloat16, rounded to the nearest, ties to even; aligned to 64 bytes.
struct PlanarCopy {
  float* planes = nullptr;
  int64_t plane = 0;
  const int32_t* places = nullptr;  // [vectors]
  int32_t half = 0;                 // as PlanarProduct::y_half
  int64_t channels = 0, vectors = 0;
  bool bf16 = false;
  void* kept = nullptr;
};

// The nearest bfloat16, halves away from zero.
inline float nearest_bf16(float value) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x8000u) & 0xFFFF0000u);
}

// Of a weight [outputs][inputs] with element (o, k) at weight[o * output_step + k * input_step]: as
// PlanarProduct reads it, [outputs / height][inputs][height], outputs rounded up by zeros. For kBf16 rounded;
// for kPairs also two inputs in each 32 bits, the first in the lower half: [outputs / height][inputs / 2,
// rounded up][height].
void pack_planar(const float* weight, int64_t outputs, int64_t inputs, int64_t output_step,
                 int64_t input_step, int height, PlanarOperands operands, float* to);

}  // namespace fewshift
