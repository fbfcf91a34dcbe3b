// fewshift in C++ (C++17): ONNX classifiers on the CPU. A wrapper in this header alone around the C interface
// of fewshift.h, which says more of threads and limits: a program needs no rebuilding for a newer library of
// the same FEWSHIFT_ABI_VERSION.
//
//   fewshift::Model model("model.onnx");
//   fewshift::Session session(model);
//   for (const fewshift::Class& c : session.classify("photo.jpg")) std::cout << c.name << ' ' << c.score <<
//   '\n';
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FEWSHIFT_FEWSHIFT_HPP
#define FEWSHIFT_FEWSHIFT_HPP

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fewshift/fewshift.h>

namespace fewshift {
inline namespace v1 {

// The one exception: what() names the file or field.
class Error : public std::runtime_error {
 public:
  Error(fewshift_status status, const char* text) : std::runtime_error(text), status_(status) {}
  fewshift_status status() const noexcept { return status_; }

 private:
  fewshift_status status_;
};

namespace detail {
inline void check(fewshift_status status) {
  if (status != FEWSHIFT_OK) throw Error(status, fewshift_error());
}
}  // namespace detail

// The library's own where 0; see fewshift.h.
struct Limits {
  std::int64_t file_bytes = 0, nodes = 0, weight_bytes = 0, memory_bytes = 0, madds = 0;
};

// A picture in memory, which is only looked at: rows of `stride` bytes (0: no gap between them), `channels`
// bytes a pixel: 1 (grey), 3 (RGB) or 4 (RGBA).
struct Pixels {
  const std::uint8_t* data = nullptr;
  int width = 0, height = 0;
  std::size_t stride = 0;
  int channels = 3;
};

// An encoded picture (JPEG, PNG, WebP) or a model in memory, which is only looked at.
struct Bytes {
  const void* data = nullptr;
  std::size_t size = 0;
};

struct Class {
  std::int64_t index = 0;
  float score = 0;  // probability
  std::string name;
};

// Constant; copies share it. Any number of threads may use one at a time.
class Model {
 public:
  explicit Model(const std::filesystem::path& file, const Limits& limits = {}) {
    const fewshift_limits most = limits_of(limits);
    fewshift_model* model = nullptr;
    detail::check(fewshift_model_open(file.string().c_str(), &most, &model));
    handle_.reset(model, fewshift_model_close);
  }
  explicit Model(Bytes onnx, const Limits& limits = {}) {
    const fewshift_limits most = limits_of(limits);
    fewshift_model* model = nullptr;
    detail::check(fewshift_model_open_bytes(onnx.data, onnx.size, &most, &model));
    handle_.reset(model, fewshift_model_close);
  }

  std::vector<std::int64_t> input_dims() const { return dims(fewshift_model_input_dims); }  // [1,C,H,W]
  std::vector<std::int64_t> output_dims() const { return dims(fewshift_model_output_dims); }
  std::int64_t features() const { return fewshift_model_features(get()); }  // of one picture
  std::vector<std::string> class_names() const {
    std::vector<std::string> names;
    for (std::int64_t k = 0; k < fewshift_model_classes(get()); ++k)
      names.emplace_back(fewshift_model_class_name(get(), k));
    return names;
  }
  std::string preprocessing() const { return fewshift_model_preprocessing(get()); }  // JSON
  std::string metadata(const std::string& key) const {                               // "" where there is none
    const char* text = fewshift_model_metadata(get(), key.c_str());
    return text ? text : "";
  }

  // A picture as its part of a batch's input: [3,size,size].
  std::vector<float> prepare(const std::filesystem::path& picture) const {
    std::vector<float> tensor(numbers(input_dims()));
    detail::check(fewshift_prepare_file(get(), picture.string().c_str(), tensor.data()));
    return tensor;
  }
  std::vector<float> prepare(Bytes picture) const {
    std::vector<float> tensor(numbers(input_dims()));
    detail::check(fewshift_prepare_bytes(get(), picture.data, picture.size, tensor.data()));
    return tensor;
  }
  std::vector<float> prepare(const Pixels& p) const {
    std::vector<float> tensor(numbers(input_dims()));
    detail::check(
        fewshift_prepare_pixels(get(), p.data, p.width, p.height, stride_of(p), p.channels, tensor.data()));
    return tensor;
  }

  // The classes' probabilities of one picture's output.
  std::vector<float> scores(const float* output) const {
    std::vector<float> result(static_cast<std::size_t>(fewshift_model_classes(get())));
    detail::check(fewshift_scores(get(), output, result.data()));
    return result;
  }

  const fewshift_model* get() const noexcept { return handle_.get(); }

  static std::size_t numbers(const std::vector<std::int64_t>& dims) {
    std::int64_t product = 1;
    for (std::int64_t dim : dims) product *= dim;
    return static_cast<std::size_t>(product);
  }
  static std::size_t stride_of(const Pixels& p) {
    return p.stride ? p.stride : static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.channels);
  }

 private:
  static fewshift_limits limits_of(const Limits& l) {
    return {sizeof(fewshift_limits), l.file_bytes, l.nodes, l.weight_bytes, l.memory_bytes, l.madds};
  }
  std::vector<std::int64_t> dims(int (*ask)(const fewshift_model*, std::int64_t*, int)) const {
    std::vector<std::int64_t> result(static_cast<std::size_t>(ask(get(), nullptr, 0)));
    ask(get(), result.data(), static_cast<int>(result.size()));
    return result;
  }
  std::shared_ptr<fewshift_model> handle_;
};

// What a thread needs to run a model. Moved, not copied; for one thread at a time.
class Session {
 public:
  explicit Session(Model model, std::int64_t batch = 1, int threads = 1)
      : model_(std::move(model)), batch_(batch) {
    fewshift_session* session = nullptr;
    detail::check(fewshift_session_create(model_.get(), batch, threads, &session));
    handle_.reset(session);
  }

  const Model& model() const noexcept { return model_; }

  // The likeliest classes, the first the likeliest.
  std::vector<Class> classify(const std::filesystem::path& picture, std::int64_t top = 5) {
    return classified(top, [&](fewshift_class* best, std::int64_t* found) {
      return fewshift_classify_file(get(), picture.string().c_str(), best, top, found);
    });
  }
  std::vector<Class> classify(Bytes picture, std::int64_t top = 5) {
    return classified(top, [&](fewshift_class* best, std::int64_t* found) {
      return fewshift_classify_bytes(get(), picture.data, picture.size, best, top, found);
    });
  }
  std::vector<Class> classify(const Pixels& p, std::int64_t top = 5) {
    return classified(top, [&](fewshift_class* best, std::int64_t* found) {
      return fewshift_classify_pixels(get(), p.data, p.width, p.height, Model::stride_of(p), p.channels, best,
                                      top, found);
    });
  }

  // Of the batch: input [batch,C,H,W], the result [batch] times the output's sizes; the pooled features too,
  // if `features` is given. Throws std::invalid_argument where the input is of another size.
  std::vector<float> run(const std::vector<float>& input, std::vector<float>* features = nullptr) {
    const auto batch = static_cast<std::size_t>(batch_);
    if (input.size() != batch * Model::numbers(model_.input_dims()))
      throw std::invalid_argument("fewshift: " + std::to_string(input.size()) +
                                  " numbers are not a batch's input");
    std::vector<float> output(batch * Model::numbers(model_.output_dims()));
    if (features) features->resize(batch * static_cast<std::size_t>(model_.features()));
    detail::check(fewshift_run(get(), input.data(), output.data(), features ? features->data() : nullptr));
    return output;
  }

  fewshift_session* get() const noexcept { return handle_.get(); }

 private:
  template <class Call>
  std::vector<Class> classified(std::int64_t top, Call call) {
    const std::int64_t most = fewshift_model_classes(model_.get());
    std::vector<fewshift_class> best(static_cast<std::size_t>(top < 1 ? 1 : top < most ? top : most + 1));
    std::int64_t found = 0;
    detail::check(call(best.data(), &found));
    std::vector<Class> result;
    for (std::int64_t k = 0; k < found; ++k) {
      const fewshift_class& c = best[static_cast<std::size_t>(k)];
      result.push_back({c.index, c.score, c.name});
    }
    return result;
  }

  struct Close {
    void operator()(fewshift_session* session) const noexcept { fewshift_session_close(session); }
  };
  Model model_;
  std::int64_t batch_;
  std::unique_ptr<fewshift_session, Close> handle_;
};

inline std::string version() {
  return fewshift_version();
}
inline std::string isa() {
  return fewshift_isa();
}

}  // namespace v1
}  // namespace fewshift

#endif
