// The engine for Python, over the C++ face. What Python's own types are turned into is in
// fewshift/__init__.py. SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <fewshift/fewshift.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Input = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Picture = nb::ndarray<const uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::numpy, float>;

// Takes the numbers along.
Output array(std::vector<float> values, std::vector<size_t> shape) {
  auto* kept = new std::vector<float>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return Output(kept->data(), shape.size(), shape.data(), owner);
}

std::vector<size_t> shape_of(size_t batch, const std::vector<int64_t>& dims) {
  std::vector<size_t> shape(dims.begin(), dims.end());
  shape[0] = batch;
  return shape;
}

// A model with the sessions that its callers have done with: any number of Python's threads may call it.
class Engine {
 public:
  Engine(fewshift::Model model, int threads) : model_(std::move(model)), threads_(threads) {}

  const fewshift::Model& model() const { return model_; }
  int threads() const { return threads_; }

  std::tuple<Output, std::optional<Output>> run(const Input& x, bool features) {
    const std::vector<int64_t> dims = model_.input_dims();
    for (size_t k = 1; k < 4; ++k) {
      if (x.shape(k) != static_cast<size_t>(dims[k]))
        throw nb::value_error(("the model takes " + text(dims)).c_str());
    }
    if (features && model_.features() == 0)
      throw nb::value_error("the model pools nowhere: it has no features");
    const size_t batch = x.shape(0);
    std::vector<float> output(batch * fewshift::Model::numbers(model_.output_dims())),
        pooled(features ? batch * static_cast<size_t>(model_.features()) : 0);
    if (batch > 0) {
      nb::gil_scoped_release release;
      Entry entry = take(static_cast<int64_t>(batch));
      fewshift::detail::check(
          fewshift_run(entry.session.get(), x.data(), output.data(), features ? pooled.data() : nullptr));
      give(std::move(entry));
    }
    std::optional<Output> second;
    if (features) second = array(std::move(pooled), {batch, static_cast<size_t>(model_.features())});
    return {array(std::move(output), shape_of(batch, model_.output_dims())), second};
  }

  // Of the outputs of run: [N,classes].
  Output scores(const nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>& outputs) {
    const size_t classes = outputs.shape(1);
    std::vector<float> all;
    for (size_t n = 0; n < outputs.shape(0); ++n) {
      const std::vector<float> one = model_.scores(outputs.data() + n * classes);
      all.insert(all.end(), one.begin(), one.end());
    }
    return array(std::move(all), {outputs.shape(0), classes});
  }
  Output prepare_file(nb::bytes path) {
    const std::filesystem::path file(std::string(path.c_str(), path.size()));
    return prepared([&] { return model_.prepare(file); });
  }
  Output prepare_bytes(nb::bytes encoded) {
    const fewshift::Bytes bytes{encoded.data(), encoded.size()};
    return prepared([&] { return model_.prepare(bytes); });
  }
  Output prepare_pixels(const Picture& x) {
    const fewshift::Pixels pixels{x.data(), static_cast<int>(x.shape(1)), static_cast<int>(x.shape(0)), 0,
                                  static_cast<int>(x.shape(2))};
    return prepared([&] { return model_.prepare(pixels); });
  }

 private:
  struct Entry {
    int64_t batch;
    fewshift::Session session;
  };
  static constexpr size_t kKept = 8;

  static std::string text(const std::vector<int64_t>& dims) {
    std::string result = "[N";
    for (size_t k = 1; k < dims.size(); ++k) result += "," + std::to_string(dims[k]);
    return result + "] float32";
  }
  template <class F>
  Output prepared(F f) {
    std::vector<float> tensor;
    {
      nb::gil_scoped_release release;
      tensor = f();
    }
    return array(std::move(tensor), shape_of(1, model_.input_dims()));
  }
  Entry take(int64_t batch) {
    {
      const std::lock_guard lock(mutex_);
      for (size_t k = free_.size(); k-- > 0;) {
        if (free_[k].batch != batch) continue;
        Entry entry = std::move(free_[k]);
        free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(k));
        return entry;
      }
    }
    return {batch, fewshift::Session(model_, batch, threads_)};
  }
  void give(Entry entry) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(entry));
    if (free_.size() > kKept) free_.erase(free_.begin());
  }

  fewshift::Model model_;
  int threads_;
  std::mutex mutex_;
  std::vector<Entry> free_;
};

}  // namespace

NB_MODULE(_fewshift, m) {
  m.doc() = "fewshift's engine; use the package fewshift.";
  m.def("version", &fewshift::version, "Of the engine.");
  m.def("isa", &fewshift::isa, "The instruction set that it uses here.");

  static nb::exception<fewshift::Error> error(m, "Error", PyExc_RuntimeError);
  error.doc() = "What fewshift could not read or compute; the text names the file or field.";

  nb::class_<Engine>(m, "Engine", "A model on the CPU. Any number of threads may call it at a time.")
      .def_static(
          "open",
          [](nb::bytes path, int threads, int64_t file_bytes, int64_t memory_bytes) {
            const std::string file(path.c_str(), path.size());
            nb::gil_scoped_release release;
            return std::make_unique<Engine>(
                fewshift::Model(std::filesystem::path(file), {file_bytes, 0, 0, memory_bytes, 0}), threads);
          },
          "path"_a, "threads"_a, "file_bytes"_a, "memory_bytes"_a)
      .def_static(
          "parse",
          [](nb::bytes onnx, int threads, int64_t file_bytes, int64_t memory_bytes) {
            const fewshift::Bytes bytes{onnx.data(), onnx.size()};
            nb::gil_scoped_release release;
            return std::make_unique<Engine>(fewshift::Model(bytes, {file_bytes, 0, 0, memory_bytes, 0}),
                                            threads);
          },
          "onnx"_a, "threads"_a, "file_bytes"_a, "memory_bytes"_a)
      .def("run", &Engine::run, "x"_a, "features"_a)
      .def("scores", &Engine::scores, "outputs"_a)
      .def("prepare_file", &Engine::prepare_file, "path"_a)
      .def("prepare_bytes", &Engine::prepare_bytes, "encoded"_a)
      .def("prepare_pixels", &Engine::prepare_pixels, "pixels"_a)
      .def_prop_ro("threads", &Engine::threads)
      .def_prop_ro("input_shape", [](const Engine& e) { return e.model().input_dims(); })
      .def_prop_ro("output_shape", [](const Engine& e) { return e.model().output_dims(); })
      .def_prop_ro("feature_count", [](const Engine& e) { return e.model().features(); })
      .def_prop_ro("class_names", [](const Engine& e) { return e.model().class_names(); })
      .def_prop_ro("preprocessing", [](const Engine& e) { return e.model().preprocessing(); })
      .def(
          "metadata", [](const Engine& e, const std::string& key) { return e.model().metadata(key); },
          "key"_a);
}
