// SPDX-License-Identifier: Apache-2.0
#include "cli/waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace fewshift::cli {
namespace {

char** g_arguments = nullptr;

}  // namespace

void remember_arguments(char** argv) {
  g_arguments = argv;
}

void wait_briefly() {
  if (!g_arguments || std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("GOMP_SPINCOUNT", "3000", 1);
  ::execv("/proc/self/exe", g_arguments);  // where it fails, threads spin for longer
}

}  // namespace fewshift::cli
