// Our engine in the dialogue of peer.py.
// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "core/npy.h"
#include "engine/engine.h"
#include "kernels/kernels.h"

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 6) throw std::runtime_error("usage: ours MODEL BATCH THREADS INPUT.npy OUTPUT.npy");
  const double began = now();
  const auto model = fewshift::engine::Model::load(argv[1]);
  fewshift::engine::Session session(model, std::stoi(argv[2]), std::stoi(argv[3]));
  const double load = now() - began;
  const fewshift::Npy x = fewshift::read_npy(argv[4]);
  fewshift::Npy y{model->output_dims(), {}};
  y.shape[0] = x.shape[0];
  y.values.resize(fewshift::graph::elements(y.shape));
  session.run(x.values.data(), y.values.data());
  fewshift::write_npy(argv[5], y);
  std::printf("ready {\"version\": \"%s\", \"madds\": %ld, \"load_ms\": %f}\n", fewshift::kernels().isa,
              static_cast<long>(model->madds()), 1e3 * load);
  std::fflush(stdout);
  for (std::string command; std::getline(std::cin, command);) {
    const int runs = std::stoi(command.substr(4));
    std::printf("{\"seconds\": [");
    for (int k = 0; k < runs; ++k) {
      const double start = now();
      session.run(x.values.data(), y.values.data());
      std::printf("%s%.9f", k ? ", " : "", now() - start);
    }
    std::printf("], \"cpu\": %f, \"memory_mb\": %f}\n", cpu_seconds(), memory_mb());
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "ours: %s\n", error.what());
  return 1;
}
