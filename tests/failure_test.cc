// Every allocation, thread and write of a model's way failing, one after another: an error each time, nothing
// leaked, nothing lost. SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fewshift/fewshift.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>

#include "arch/registry.h"
#include "core/error.h"
#include "core/file.h"
#include "export/lower.h"
#include "graph/onnx/onnx.h"
#include "image/encode.h"
#include "image/preprocess.h"

namespace {

// Of the allocations that are to come, the one that fails; and how many live.
std::atomic<int64_t> g_left{-1}, g_live{0};

bool fails() {
  if (g_left.load(std::memory_order_relaxed) < 0) return false;
  return g_left.fetch_sub(1) == 0;
}
void* counted(void* p) {
  if (p) ++g_live;
  return p;
}

}  // namespace

void* operator new(size_t size) {
  void* p = fails() ? nullptr : counted(std::malloc(size ? size : 1));
  if (!p) throw std::bad_alloc();
  return p;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return fails() ? nullptr : counted(std::malloc(size ? size : 1));
}
void* operator new(size_t size, std::align_val_t alignment) {
  const auto each = static_cast<size_t>(alignment);
  void* p = fails() ? nullptr : counted(std::aligned_alloc(each, (size + each - 1) / each * each));
  if (!p) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept {
  if (p) --g_live;
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  operator delete(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  operator delete(p);
}
void operator delete(void* p, size_t, std::align_val_t) noexcept {
  operator delete(p);
}

// The library's large memory (core/aligned.cc) comes by this name, not by new: --wrap.
extern "C" void* __real_aligned_alloc(size_t alignment, size_t size);
extern "C" void* __wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? nullptr : __real_aligned_alloc(alignment, size);
}

namespace {

namespace fs = std::filesystem;

std::string network() {
  using namespace fewshift;
  graph::Graph g = lower(make_arch("fenet_cifar_0.5", 3, "ssl"), random_weights(1, 0.5), 8);
  g.metadata = {{"class_names", "[\"one\",\"two\",\"three\"]"},
                {"preprocess", to_json(default_preprocess(8))}};
  return graph::format_onnx(g);
}
std::string photo() {
  return fewshift::encode_jpeg({20, 16, std::vector<uint8_t>(20 * 16 * 3, 77)}, 90);
}

// Calls f, which says whether it went well, with the first allocation failing, then the second, and so on,
// until it does.
int64_t with_every_allocation_failing(const std::function<bool()>& f) {
  EXPECT_TRUE(f());  // what is made once is made
  int64_t k = 0;
  for (;; ++k) {
    const int64_t live = g_live;
    g_left = k;
    const bool good = f();
    const bool failed = g_left.exchange(-1) < 0;
    EXPECT_EQ(g_live, live) << "after allocation " << k << " failed";
    EXPECT_TRUE(good || failed);
    if (!failed || testing::Test::HasFailure()) break;
  }
  return k;
}

TEST(Failures, AllocationsWhileAModelIsLoadedAndRun) {
  const std::string onnx = network(), picture = photo();
  std::vector<float> x(3 * 8 * 8, 0.5f), y(3), features(1024);
  const auto road = [&] {
    fewshift_model* model = nullptr;
    fewshift_session* session = nullptr;
    fewshift_class best[2];
    int64_t found;
    fewshift_status status = fewshift_model_open_bytes(onnx.data(), onnx.size(), nullptr, &model);
    if (status == FEWSHIFT_OK) status = fewshift_session_create(model, 1, 2, &session);
    if (status == FEWSHIFT_OK) status = fewshift_run(session, x.data(), y.data(), features.data());
    if (status == FEWSHIFT_OK)
      status = fewshift_classify_bytes(session, picture.data(), picture.size(), best, 2, &found);
    EXPECT_TRUE(status == FEWSHIFT_OK || status == FEWSHIFT_NO_MEMORY) << status << fewshift_error();
    EXPECT_STREQ(fewshift_error(), status == FEWSHIFT_OK ? fewshift_error() : "out of memory");
    fewshift_session_close(session);
    fewshift_model_close(model);
    return status == FEWSHIFT_OK;
  };
  std::printf("%ld allocations failed in turn\n", with_every_allocation_failing(road));
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("fewshift_failures_" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

TEST(Failures, AllocationsWhileAModelIsSaved) {
  const Folder folder;
  const fewshift::graph::Graph g = fewshift::graph::parse_onnx(network(), "it");
  const fs::path file = folder / "model.onnx";
  fewshift::graph::write_onnx(file, g);
  const std::string good = fewshift::read_file(file);
  const auto road = [&] {
    try {
      fewshift::graph::write_onnx(file, g);
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  };
  EXPECT_GT(with_every_allocation_failing(road), 10);
  EXPECT_EQ(fewshift::read_file(file), good);
}

// A disk that is full after so many bytes: the system's limit of a file's size does the same.
TEST(Failures, ShortWritesLoseNothing) {
  const Folder folder;
  const std::string old = "what was there", onnx = network();
  const fs::path file = folder / "model.onnx";
  fewshift::write_file_atomic(file, old);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const size_t step = onnx.size() / 40 + 1;
  for (size_t most = 0; most < onnx.size(); most += step) {
    rlimit limit = before;
    limit.rlim_cur = most;
    setrlimit(RLIMIT_FSIZE, &limit);
    std::string text;
    try {
      fewshift::write_file_atomic(file, onnx);
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_NE(text.find("model.onnx"), std::string::npos) << text;
    EXPECT_EQ(fewshift::read_file(file), old);
    EXPECT_EQ(folder.files(), 1u);
  }
  fewshift::write_file_atomic(file, onnx);
  EXPECT_EQ(fewshift::read_file(file), onnx);
}

}  // namespace
