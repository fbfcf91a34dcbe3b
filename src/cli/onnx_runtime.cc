// SPDX-License-Identifier: Apache-2.0
#include "cli/onnx_runtime.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"

extern char** environ;

namespace fewshift::cli {
namespace {

constexpr int kNotInstalled = 77;
constexpr const char* kScript = R"(
import sys
try:
    import numpy, onnxruntime
except ImportError:
    sys.exit(77)
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
y, = session.run(None, {session.get_inputs()[0].name: numpy.load(sys.argv[2])})
numpy.save(sys.argv[3], numpy.ascontiguousarray(y, dtype=numpy.float32))
)";

// A folder of our own, gone with us.
struct Folder {
  Folder() : path((std::filesystem::temp_directory_path() / "fewshift-XXXXXX").string()) {
    if (!mkdtemp(path.data())) throw Error(ErrorCode::kIo, path, "cannot be made");
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

}  // namespace

std::optional<Npy> compute_with_onnx_runtime(const std::filesystem::path& model, const Npy& x) {
  const Folder folder;
  const std::string in = folder.path + "/x.npy", out = folder.path + "/y.npy", file = model.string();
  write_npy(in, x);
  const char* named = std::getenv("FEWSHIFT_PYTHON");
  const char* const arguments[] = {
      named && *named ? named : "python3", "-c", kScript, file.c_str(), in.c_str(), out.c_str(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], nullptr, nullptr, const_cast<char**>(arguments), environ) != 0)
    return {};
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && (WEXITSTATUS(status) == kNotInstalled || WEXITSTATUS(status) == 127)) return {};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorCode::kUnsupported, file, "ONNX Runtime fails on it; what it says stands above");
  return read_npy(out);
}

}  // namespace fewshift::cli
