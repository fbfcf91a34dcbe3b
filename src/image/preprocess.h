// From a picture to a network's input: the same code in training, evaluation and use.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <string>

#include "image/image.h"
#include "image/resize.h"

namespace fewshift {

// The recipe that travels with a network. Evaluation resizes the short side to `resize`, crops the middle
// `size` x `size` (both to the pixel as torchvision's Resize and CenterCrop), divides by 255, subtracts
// `mean` and divides by `std` (RGB).
struct Preprocess {
  int size = 224;
  int resize = 256;
  Interpolation interpolation = Interpolation::kBilinear;
  // Whether a large JPEG is decoded in full, as other programs do, or at the smallest DCT scale that leaves
  // what the resizing keeps: two or three times as fast, and pixels a little different.
  bool decode_in_full = false;
  std::array<float, 3> mean = {0.485f, 0.456f, 0.406f};
  std::array<float, 3> std = {0.229f, 0.224f, 0.225f};
};

// The usual recipe at `size` px: resize = size up to 64 px, size * 8 / 7 (224: 256) above.
Preprocess default_preprocess(int size);

// decode_image's min_side for pictures that go this way: 0, or large enough to lose nothing that the resizing
// would keep.
inline int decode_min_side(const Preprocess& preprocess) {
  return preprocess.decode_in_full ? 0 : 2 * preprocess.resize;
}

// As one JSON object, and back. "interpolation" is "bilinear" (also where it is missing) or "bicubic";
// "decode" is "fast" or "full", and where it is missing as `full` says. from_json throws Error (kCorrupt)
// naming the field that is missing or out of range (size and resize from 1 to 4096, size <= resize; std > 0).
std::string to_json(const Preprocess& preprocess);
Preprocess preprocess_from_json(const std::string& json, const std::string& where, bool full = false);

// Writes `image` (exactly size x size) as floats, out: [size][size][3].
void normalise(const Image& image, const Preprocess& preprocess, float* out);

// The whole evaluation road: resize, centre crop, normalise. out: [size][size][3].
void preprocess(const Image& image, const Preprocess& preprocess, float* out);

}  // namespace fewshift
