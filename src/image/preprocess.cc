// The evaluation road and its description as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "image/preprocess.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "image/centre_crop.h"
#include "image/resize.h"

namespace fewshift {
namespace {

using nlohmann::ordered_json;

constexpr int kMaxSide = 4096;

// 0.485f as 0.485, not as 0.48500001430511475.
double shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text - 1, value).ptr;
  *end = '\0';
  return std::strtod(text, nullptr);
}

ordered_json numbers(const std::array<float, 3>& values) {
  return {shortest(values[0]), shortest(values[1]), shortest(values[2])};
}

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::kCorrupt, where, message);
}

const ordered_json& field(const ordered_json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) fail(where, std::string("the preprocessing has no \"") + key + "\"");
  return *found;
}

int read_side(const ordered_json& object, const char* key, const std::string& where) {
  const ordered_json& value = field(object, key, where);
  const int64_t side = value.is_number_integer() ? value.get<int64_t>() : 0;
  if (side < 1 || side > kMaxSide) {
    fail(where, std::string("\"") + key + "\" must be a whole number from 1 to " + std::to_string(kMaxSide));
  }
  return static_cast<int>(side);
}

std::array<float, 3> read_three(const ordered_json& object, const char* key, const std::string& where) {
  const ordered_json& values = field(object, key, where);
  std::array<float, 3> out{};
  bool good = values.is_array() && values.size() == 3;
  for (size_t i = 0; good && i < 3; ++i) {
    good = values[i].is_number() && std::abs(values[i].get<double>()) < 1e30;
    if (good) out[i] = values[i].get<float>();
  }
  if (!good) fail(where, std::string("\"") + key + "\" must be three numbers");
  return out;
}

}  // namespace

Preprocess default_preprocess(int size) {
  Preprocess preprocess;
  preprocess.size = size;
  preprocess.resize = size <= 64 ? size : size * 8 / 7;
  return preprocess;
}

std::string to_json(const Preprocess& preprocess) {
  return ordered_json{{"size", preprocess.size},
                      {"resize", preprocess.resize},
                      {"mean", numbers(preprocess.mean)},
                      {"std", numbers(preprocess.std)}}
      .dump();
}

Preprocess preprocess_from_json(const std::string& json, const std::string& where) {
  const ordered_json object = ordered_json::parse(json, nullptr, false);
  if (!object.is_object()) fail(where, "the preprocessing is not a JSON object");
  Preprocess preprocess;
  preprocess.size = read_side(object, "size", where);
  preprocess.resize = read_side(object, "resize", where);
  if (preprocess.size > preprocess.resize) fail(where, "\"size\" must not be above \"resize\"");
  preprocess.mean = read_three(object, "mean", where);
  preprocess.std = read_three(object, "std", where);
  for (float value : preprocess.std) {
    if (!(value > 0)) fail(where, "\"std\" must be above 0");
  }
  return preprocess;
}

void normalise(const Image& image, const Preprocess& preprocess, float* out) {
  if (image.width != preprocess.size || image.height != preprocess.size) {
    throw Error(ErrorCode::kInvalidArgument, "normalise",
                "the picture is " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                    ", not " + std::to_string(preprocess.size) + " square");
  }
  float table[3][256];
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) table[c][v] = (v / 255.0f - preprocess.mean[c]) / preprocess.std[c];
  }
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    for (int c = 0; c < 3; ++c) out[i + c] = table[c][image.pixels[i + c]];
  }
}

Image resize_centre_crop(const Image& image, const Preprocess& preprocess) {
  if (image.width < 1 || image.height < 1 || preprocess.size < 1 || preprocess.size > preprocess.resize) {
    throw Error(ErrorCode::kInvalidArgument, "preprocess", "an empty picture, or \"size\" above \"resize\"");
  }
  const int shorter = std::min(image.width, image.height);
  // Where along a side of `length` px the crop begins, and how much of it it takes.
  const auto part = [&](int length) {
    const double whole =
        std::max<double>(preprocess.resize, std::round(double(length) * preprocess.resize / shorter));
    const double scale = length / whole, from = std::floor((whole - preprocess.size) / 2) * scale;
    return std::pair(from, std::min(preprocess.size * scale, length - from));
  };
  const auto [left, width] = part(image.width);
  const auto [top, height] = part(image.height);
  return resize(image, Box{left, top, width, height}, preprocess.size, preprocess.size);
}

void preprocess(const Image& image, const Preprocess& preprocess, float* out) {
  normalise(resize_centre_crop(image, preprocess), preprocess, out);
}

}  // namespace fewshift
