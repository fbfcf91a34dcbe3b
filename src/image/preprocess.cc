// The evaluation road and its description as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "image/preprocess.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "core/json_value.h"
#include "image/centre_crop.h"
#include "image/resize.h"

namespace fewshift {
namespace {

constexpr int kMaxSide = 4096;

// As few digits as tell them from their neighbours: 0.485f as 0.485, not as 0.48500001430511475.
std::string list(const std::array<float, 3>& values) {
  std::string text;
  for (float value : values) {
    char digits[32];
    text += text.empty() ? "[" : ",";
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
  return text + "]";
}

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::kCorrupt, where, message);
}

const JsonValue& field(const JsonValue& object, const char* key, const std::string& where) {
  const JsonValue* found = object.find(key);
  if (!found) fail(where, std::string("the preprocessing has no \"") + key + "\"");
  return *found;
}

int read_side(const JsonValue& object, const char* key, const std::string& where) {
  const int64_t side = field(object, key, where).integer().value_or(0);
  if (side < 1 || side > kMaxSide) {
    fail(where, std::string("\"") + key + "\" must be a whole number from 1 to " + std::to_string(kMaxSide));
  }
  return static_cast<int>(side);
}

std::array<float, 3> read_three(const JsonValue& object, const char* key, const std::string& where) {
  const JsonValue::Array* values = field(object, key, where).array();
  std::array<float, 3> out{};
  bool good = values && values->size() == 3;
  for (size_t i = 0; good && i < 3; ++i) {
    const auto number = (*values)[i].number();
    good = number && std::abs(*number) < 1e30;
    if (good) out[i] = static_cast<float>(*number);
  }
  if (!good) fail(where, std::string("\"") + key + "\" must be three numbers");
  return out;
}

// Whether the field is the other of two; the usual one where there is none.
bool is_other(const JsonValue& object, const char* key, const std::string& usual, const std::string& other,
              bool if_missing, const std::string& where) {
  const JsonValue* found = object.find(key);
  if (!found) return if_missing;
  const std::string* text = found->text();
  if (!text || (*text != usual && *text != other))
    fail(where, std::string("\"") + key + "\" must be \"" + usual + "\" or \"" + other + "\"");
  return *text == other;
}

}  // namespace

Preprocess default_preprocess(int size) {
  Preprocess preprocess;
  preprocess.size = size;
  preprocess.resize = size <= 64 ? size : size * 8 / 7;
  return preprocess;
}

std::string to_json(const Preprocess& preprocess) {
  return "{\"size\":" + std::to_string(preprocess.size) + ",\"resize\":" + std::to_string(preprocess.resize) +
         ",\"mean\":" + list(preprocess.mean) + ",\"std\":" + list(preprocess.std) + ",\"interpolation\":\"" +
         (preprocess.interpolation == Interpolation::kBicubic ? "bicubic" : "bilinear") + "\",\"decode\":\"" +
         (preprocess.decode_in_full ? "full" : "fast") + "\"}";
}

Preprocess preprocess_from_json(const std::string& json, const std::string& where, bool full) {
  const std::optional<JsonValue> parsed = parse_json(json);
  if (!parsed || !std::holds_alternative<JsonValue::Object>(parsed->value))
    fail(where, "the preprocessing is not a JSON object");
  const JsonValue& object = *parsed;
  Preprocess preprocess;
  preprocess.size = read_side(object, "size", where);
  preprocess.resize = read_side(object, "resize", where);
  if (preprocess.size > preprocess.resize) fail(where, "\"size\" must not be above \"resize\"");
  preprocess.mean = read_three(object, "mean", where);
  preprocess.std = read_three(object, "std", where);
  for (float value : preprocess.std) {
    if (!(value > 0)) fail(where, "\"std\" must be above 0");
  }
  if (is_other(object, "interpolation", "bilinear", "bicubic", false, where))
    preprocess.interpolation = Interpolation::kBicubic;
  preprocess.decode_in_full = is_other(object, "decode", "fast", "full", full, where);
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
        std::max<double>(preprocess.resize, std::floor(double(length) * preprocess.resize / shorter));
    const double scale = length / whole, from = std::nearbyint((whole - preprocess.size) / 2) * scale;
    return std::pair(from, std::min(preprocess.size * scale, length - from));
  };
  const auto [left, width] = part(image.width);
  const auto [top, height] = part(image.height);
  return resize(image, Box{left, top, width, height}, preprocess.size, preprocess.size,
                preprocess.interpolation);
}

void preprocess(const Image& image, const Preprocess& preprocess, float* out) {
  normalise(resize_centre_crop(image, preprocess), preprocess, out);
}

}  // namespace fewshift
