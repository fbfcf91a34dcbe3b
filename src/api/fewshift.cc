// The C interface. No exception leaves it. SPDX-License-Identifier: Apache-2.0
#include <fewshift/fewshift.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "engine/engine.h"
#include "image/decode.h"
#include "image/limits.h"
#include "image/preprocess.h"
#include "kernels/kernels.h"
#include "model/onnx.h"
#include "model/predictions.h"

using namespace fewshift;

namespace {

// Loaded once, shared by a handle and the sessions that were made of it.
struct Loaded {
  std::shared_ptr<const engine::Model> network;
  ModelInfo info;  // no class names: no classifier
  std::string preprocessing;
};

}  // namespace

struct fewshift_model {
  std::shared_ptr<const Loaded> loaded;
};

struct fewshift_session {
  std::shared_ptr<const Loaded> loaded;
  engine::Session session;
  int64_t batch;
  std::vector<float> input, logits;  // the picture road's
  std::vector<int64_t> order;
};

namespace {

thread_local std::string g_error;

fewshift_status fail(fewshift_status status, const char* text) noexcept {
  try {
    g_error = text;
  } catch (...) {
    g_error.clear();
  }
  return status;
}

fewshift_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return FEWSHIFT_NOT_FOUND;
    case ErrorCode::kInvalidArgument:
      return FEWSHIFT_INVALID_ARGUMENT;
    case ErrorCode::kCorrupt:
      return FEWSHIFT_CORRUPT;
    case ErrorCode::kUnsupported:
      return FEWSHIFT_UNSUPPORTED;
    case ErrorCode::kIo:
      return FEWSHIFT_IO;
    case ErrorCode::kNumeric:
      return FEWSHIFT_NUMERIC;
  }
  return FEWSHIFT_INTERNAL;
}

template <class F>
fewshift_status guarded(F f) noexcept {
  try {
    f();
    return FEWSHIFT_OK;
  } catch (const Error& error) {
    return fail(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(FEWSHIFT_NO_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return fail(FEWSHIFT_INTERNAL, error.what());
  } catch (...) {
    return fail(FEWSHIFT_INTERNAL, "unknown failure");
  }
}

void need(const void* pointer, const char* name) {
  if (!pointer) throw Error(ErrorCode::kInvalidArgument, name, "is NULL");
}

// What f gives of a model, or `none`, with the error set.
template <class T, class F>
T get(const fewshift_model* model, T none, F f) noexcept {
  T value = none;
  guarded([&] {
    need(model, "model");
    value = f(*model->loaded);
  });
  return value;
}

graph::Limits limits_of(const fewshift_limits* given) {
  graph::Limits limits;
  if (!given) return limits;
  fewshift_limits all{};
  std::copy_n(reinterpret_cast<const char*>(given), std::min(given->size, sizeof all),
              reinterpret_cast<char*>(&all));
  for (const auto& [asked, own] : {std::pair{all.file_bytes, &limits.file_bytes},
                                   {all.nodes, &limits.nodes},
                                   {all.weight_bytes, &limits.weight_bytes},
                                   {all.memory_bytes, &limits.memory_bytes},
                                   {all.madds, &limits.madds}}) {
    if (asked < 0) throw Error(ErrorCode::kInvalidArgument, "limits", "are less than 0");
    if (asked > 0) *own = asked;
  }
  return limits;
}

fewshift_model* make_model(std::shared_ptr<const engine::Model> network, const std::string& where) {
  auto loaded = std::make_shared<Loaded>();
  loaded->network = std::move(network);
  if (is_classifier(*loaded->network)) {
    loaded->info = info_of(*loaded->network, where);
    loaded->preprocessing = to_json(loaded->info.preprocess);
  }
  return new fewshift_model{std::move(loaded)};
}

int give_dims(const std::vector<int64_t>& from, int64_t* dims, int capacity) {
  if (capacity > 0) need(dims, "dims");
  for (int k = 0; k < std::min<int>(capacity, static_cast<int>(from.size())); ++k) dims[k] = from[k];
  return static_cast<int>(from.size());
}

const Preprocess& preprocess_of(const Loaded& loaded) {
  if (loaded.info.class_names.empty())
    throw Error(ErrorCode::kUnsupported, "the model",
                "is no classifier of square RGB pictures: run it on tensors");
  return loaded.info.preprocess;
}

Image from_pixels(const uint8_t* pixels, int width, int height, size_t stride, int channels) {
  need(pixels, "pixels");
  if (width < 1 || height < 1 || int64_t{width} * height > kMaxPixels)
    throw Error(
        ErrorCode::kInvalidArgument, "pixels",
        "are " + std::to_string(width) + "x" + std::to_string(height) + ": from 1 to 2^27 can be taken");
  if (channels != 1 && channels != 3 && channels != 4)
    throw Error(ErrorCode::kInvalidArgument, "channels", "must be 1, 3 or 4");
  if (stride > static_cast<size_t>(PTRDIFF_MAX) / height)
    throw Error(ErrorCode::kInvalidArgument, "stride", "is too large");
  if (stride < static_cast<size_t>(width) * channels)
    throw Error(ErrorCode::kInvalidArgument, "stride", "is less than a row of pixels");
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  uint8_t* to = image.pixels.data();
  for (int i = 0; i < height; ++i) {
    const uint8_t* row = pixels + i * stride;
    for (int j = 0; j < width; ++j, row += channels) {
      for (int c = 0; c < 3; ++c) *to++ = row[channels == 1 ? 0 : c];
    }
  }
  return image;
}

void prepare(const Loaded& loaded, const Image& image, float* tensor) {
  const Preprocess& recipe = preprocess_of(loaded);
  std::vector<float> picture(size_t{3} * recipe.size * recipe.size);
  preprocess(image, recipe, picture.data());
  to_planes(picture.data(), 1, int64_t{recipe.size} * recipe.size, tensor);
}

Image read(const Loaded& loaded, const char* path) {
  need(path, "path");
  return load_image(path, decode_min_side(preprocess_of(loaded)));
}
Image read(const Loaded& loaded, const void* bytes, size_t size) {
  need(bytes, "bytes");
  return decode_image({static_cast<const char*>(bytes), size}, "the picture",
                      decode_min_side(preprocess_of(loaded)));
}

void classify(fewshift_session& s, const Image& image, fewshift_class* best, int64_t top, int64_t* found) {
  const auto classes = static_cast<int64_t>(s.loaded->info.class_names.size());
  s.input.resize(graph::elements(s.loaded->network->input_dims()));
  s.logits.resize(classes), s.order.resize(classes);
  prepare(*s.loaded, image, s.input.data());
  s.session.run(s.input.data(), s.logits.data());
  to_logits(*s.loaded->network, s.logits.data(), classes);
  const std::vector<double> scores = probabilities(s.logits.data(), classes);
  const int64_t count = std::min(top, classes);
  std::iota(s.order.begin(), s.order.end(), int64_t{0});
  std::partial_sort(s.order.begin(), s.order.begin() + count, s.order.end(), [&](int64_t a, int64_t b) {
    return s.logits[a] != s.logits[b] ? s.logits[a] > s.logits[b] : a < b;
  });
  for (int64_t k = 0; k < count; ++k)
    best[k] = {s.order[k], static_cast<float>(scores[s.order[k]]),
               s.loaded->info.class_names[s.order[k]].c_str()};
  *found = count;
}

template <class Read>
fewshift_status classify_with(fewshift_session* session, fewshift_class* best, int64_t top, int64_t* found,
                              Read read_picture) noexcept {
  return guarded([&] {
    need(session, "session"), need(best, "best"), need(found, "found");
    if (top < 1) throw Error(ErrorCode::kInvalidArgument, "top", "must be at least 1");
    preprocess_of(*session->loaded);
    if (session->batch != 1)
      throw Error(ErrorCode::kInvalidArgument, "the session",
                  "is for batches of " + std::to_string(session->batch) +
                      ": pictures are classified in one of batch 1");
    classify(*session, read_picture(*session->loaded), best, top, found);
  });
}

template <class Read>
fewshift_status prepare_with(const fewshift_model* model, float* tensor, Read read_picture) noexcept {
  return guarded([&] {
    need(model, "model"), need(tensor, "tensor");
    prepare(*model->loaded, read_picture(*model->loaded), tensor);
  });
}

}  // namespace

extern "C" {

int fewshift_abi_version(void) {
  return FEWSHIFT_ABI_VERSION;
}
const char* fewshift_version(void) {
  return FEWSHIFT_VERSION;
}
const char* fewshift_isa(void) {
  const char* isa = "";
  guarded([&] { isa = kernels().isa; });
  return isa;
}
const char* fewshift_error(void) {
  return g_error.c_str();
}

fewshift_status fewshift_model_open(const char* path, const fewshift_limits* limits, fewshift_model** model) {
  return guarded([&] {
    need(path, "path"), need(model, "model");
    *model = make_model(engine::Model::load(path, limits_of(limits)), path);
  });
}
fewshift_status fewshift_model_open_bytes(const void* bytes, size_t size, const fewshift_limits* limits,
                                          fewshift_model** model) {
  return guarded([&] {
    need(bytes, "bytes"), need(model, "model");
    const graph::Limits most = limits_of(limits);
    if (size > static_cast<size_t>(most.file_bytes))
      throw Error(ErrorCode::kUnsupported, "the model",
                  "is of more than " + std::to_string(most.file_bytes) + " bytes");
    const auto* begin = static_cast<const char*>(bytes);
    *model =
        make_model(engine::Model::parse(AlignedBytes(begin, begin + size), "the model", most), "the model");
  });
}
void fewshift_model_close(fewshift_model* model) {
  delete model;
}

int fewshift_model_input_dims(const fewshift_model* model, int64_t* dims, int capacity) {
  return get(model, 0, [&](const Loaded& m) { return give_dims(m.network->input_dims(), dims, capacity); });
}
int fewshift_model_output_dims(const fewshift_model* model, int64_t* dims, int capacity) {
  return get(model, 0, [&](const Loaded& m) { return give_dims(m.network->output_dims(), dims, capacity); });
}
int64_t fewshift_model_features(const fewshift_model* model) {
  return get(model, int64_t{0}, [](const Loaded& m) { return m.network->feature_count(); });
}
int64_t fewshift_model_classes(const fewshift_model* model) {
  return get(model, int64_t{0},
             [](const Loaded& m) { return static_cast<int64_t>(m.info.class_names.size()); });
}
const char* fewshift_model_class_name(const fewshift_model* model, int64_t k) {
  return get(model, static_cast<const char*>(nullptr), [&](const Loaded& m) {
    const auto& names = m.info.class_names;
    return k < 0 || k >= static_cast<int64_t>(names.size()) ? nullptr : names[k].c_str();
  });
}
const char* fewshift_model_preprocessing(const fewshift_model* model) {
  return get(model, static_cast<const char*>(nullptr),
             [](const Loaded& m) { return m.preprocessing.c_str(); });
}
const char* fewshift_model_metadata(const fewshift_model* model, const char* key) {
  return get(model, static_cast<const char*>(nullptr), [&](const Loaded& m) {
    need(key, "key");
    const auto& metadata = m.network->metadata();
    const auto found = metadata.find(key);
    return found == metadata.end() ? nullptr : found->second.c_str();
  });
}

fewshift_status fewshift_session_create(const fewshift_model* model, int64_t batch, int threads,
                                        fewshift_session** session) {
  return guarded([&] {
    need(model, "model"), need(session, "session");
    *session = new fewshift_session{
        model->loaded, engine::Session(model->loaded->network, batch, threads), batch, {}, {}, {}};
  });
}
void fewshift_session_close(fewshift_session* session) {
  delete session;
}

fewshift_status fewshift_run(fewshift_session* session, const float* input, float* output, float* features) {
  return guarded([&] {
    need(session, "session"), need(input, "input"), need(output, "output");
    session->session.run(input, output, features);
  });
}

fewshift_status fewshift_scores(const fewshift_model* model, const float* output, float* scores) {
  return guarded([&] {
    need(model, "model"), need(output, "output"), need(scores, "scores");
    preprocess_of(*model->loaded);
    std::vector<float> logits(output, output + model->loaded->info.class_names.size());
    const auto classes = static_cast<int64_t>(logits.size());
    to_logits(*model->loaded->network, logits.data(), classes);
    const std::vector<double> shares = probabilities(logits.data(), classes);
    std::copy(shares.begin(), shares.end(), scores);
  });
}

fewshift_status fewshift_classify_file(fewshift_session* session, const char* path, fewshift_class* best,
                                       int64_t top, int64_t* found) {
  return classify_with(session, best, top, found, [&](const Loaded& loaded) { return read(loaded, path); });
}
fewshift_status fewshift_classify_bytes(fewshift_session* session, const void* bytes, size_t size,
                                        fewshift_class* best, int64_t top, int64_t* found) {
  return classify_with(session, best, top, found,
                       [&](const Loaded& loaded) { return read(loaded, bytes, size); });
}
fewshift_status fewshift_classify_pixels(fewshift_session* session, const uint8_t* pixels, int width,
                                         int height, size_t stride, int channels, fewshift_class* best,
                                         int64_t top, int64_t* found) {
  return classify_with(session, best, top, found,
                       [&](const Loaded&) { return from_pixels(pixels, width, height, stride, channels); });
}

fewshift_status fewshift_prepare_file(const fewshift_model* model, const char* path, float* tensor) {
  return prepare_with(model, tensor, [&](const Loaded& loaded) { return read(loaded, path); });
}
fewshift_status fewshift_prepare_bytes(const fewshift_model* model, const void* bytes, size_t size,
                                       float* tensor) {
  return prepare_with(model, tensor, [&](const Loaded& loaded) { return read(loaded, bytes, size); });
}
fewshift_status fewshift_prepare_pixels(const fewshift_model* model, const uint8_t* pixels, int width,
                                        int height, size_t stride, int channels, float* tensor) {
  return prepare_with(model, tensor,
                      [&](const Loaded&) { return from_pixels(pixels, width, height, stride, channels); });
}

}  // extern "C"
