// One process of a training, for distributed_test: writes a line a step, LOSS PICTURE..., to a file.
// Arguments: RUN STEPS-FILE RESUME(0|1) TIMEOUT-S [FIELD=VALUE...]; or TIMEOUT-S alone: checks what processes
// say to one another. SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "train/launch.h"
#include "train/trainer.h"

using namespace fewshift;

namespace {

struct Writer : TrainObserver {
  explicit Writer(const char* path) : out(path, std::ios::app) { out.precision(12); }
  void on_message(const std::string& line) override { std::fprintf(stderr, "%s\n", line.c_str()); }
  void on_epoch(const EpochReport&) override {}
  void on_step(const StepReport& report) override {
    // Of the mean so far, this step's.
    if (report.epoch != epoch) sum = 0, seen = report.step - 1, epoch = report.epoch;
    const double loss = report.loss * static_cast<double>(report.step) - sum;
    sum += loss, ++seen;
    out << report.epoch << ' ' << report.step << ' ' << loss;
    for (const size_t picture : report.pictures) out << ' ' << picture;
    out << std::endl;
  }
  std::ofstream out;
  int64_t epoch = 0, seen = 0;
  double sum = 0;
};

std::atomic<bool> g_stop{false};

// Sums of sizes on both sides of where the way of adding up changes, the answers of the other calls.
bool right(World& world) {
  const int n = world.size(), rank = world.rank();
  bool good = true;
  for (const int64_t size : {1, 7, 8192, 8193, 300001}) {
    const torch::Tensor base = torch::arange(size, torch::kDouble);
    torch::Tensor sum = base * (rank + 1), later = base + rank;
    const auto wait = world.start_adding_up(later);
    world.add_up(sum);
    wait();
    good = good && torch::equal(sum, base * (n * (n + 1) / 2));
    good = good && torch::equal(later, base * n + n * (n - 1) / 2);
  }
  std::string text = rank == 0 ? std::string("a\0b", 3) : "other";
  world.share(text);
  std::string nothing = rank == 0 ? "" : "other";
  world.share(nothing);
  const auto all = world.gather(std::string(static_cast<size_t>(rank), 'x'));
  for (int k = 0; k < n; ++k) good = good && all[k] == std::string(static_cast<size_t>(k), 'x');
  return good && text == std::string("a\0b", 3) && nothing.empty() && world.agree("same") &&
         world.agree(rank < n - 1 ? "same" : "other") == (n == 1);
}

// To write to a process that has ended fails; it does not kill.
bool outlives_a_closed_connection() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return false;
  ::close(ends[1]);
  const bool failed = ::write(ends[0], "x", 1) == -1 && errno == EPIPE;
  ::close(ends[0]);
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc < 5) return 2;
  const auto launch = launch_from([](const char* name) { return std::getenv(name); });
  std::signal(SIGTERM, [](int) { g_stop = true; });
  if (argc == 2) {
    try {
      World world(*launch, std::atof(argv[1]));
      return right(world) && outlives_a_closed_connection() ? 0 : 1;
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 1;
    }
  }
  Recipe recipe;
  Writer writer(argv[2]);
  try {
    for (int k = 5; k < argc; ++k) {
      const std::string text = argv[k];
      const size_t equals = text.find('=');
      set_field(recipe, text.substr(0, equals), text.substr(equals + 1), text);
    }
    const auto world =
        launch ? std::make_unique<World>(*launch, std::atof(argv[4])) : std::make_unique<World>();
    try {
      train(recipe, argv[1], argv[3][0] == '1', writer, g_stop, *world);
    } catch (const Error& error) {
      if (world->speaks_of_failure()) std::fprintf(stderr, "%s\n", error.what());
      std::_Exit(1);
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
