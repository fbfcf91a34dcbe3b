// fewshift run
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/npy.h"
#include "engine/engine.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string model, input, output;
  int threads = 0;
};

int run(const Options& o) {
  const auto model = engine::Model::load(o.model);
  const Npy x = read_npy(o.input);
  std::vector<int64_t> dims = model->input_dims();
  if (x.shape.size() == dims.size() && x.shape[0] >= 1) dims[0] = x.shape[0];
  if (x.shape != dims)
    throw Error(
        ErrorCode::kInvalidArgument, o.input,
        "is " + graph::text(x.shape) + ", the model takes Nx" + graph::text(model->input_dims()).substr(2));
  Npy y;
  y.shape = model->output_dims();
  y.shape[0] = dims[0];
  y.values.resize(graph::elements(y.shape));
  engine::Session session(model, dims[0], threads(o.threads));
  session.run(x.values.data(), y.values.data());
  write_npy(o.output, y);
  std::printf("%s: %s\n", o.output.c_str(), graph::text(y.shape).c_str());
  return kDone;
}

}  // namespace

Action run_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("MODEL", o->model, "MODEL.onnx")->required();
  command.add_option("--input", o->input, "X.npy: float32, [N,C,H,W] as in the file")->required();
  command.add_option("--output", o->output, "Y.npy to write: float32")->required();
  command.add_option("--threads", o->threads, "Of the arithmetic (as many as cores are free)")
      ->check(CLI::Range(0, 1024));
  command.footer(
      "No preprocessing: the numbers go in as they are. For pictures there is `fewshift predict`.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
