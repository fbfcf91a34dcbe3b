// SPDX-License-Identifier: Apache-2.0
#include "core/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

namespace fewshift {

int cores() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = std::max(1, CPU_COUNT(&allowed));
  double quota = 0, period = 0;  // microseconds; the quota may be "max"
  if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period && period > 0)
    count = std::min(count, std::max(1, static_cast<int>(std::ceil(quota / period))));
  return count;
}

int free_cores() {
  double minute = 0, five = 0, fifteen = 0;
  int running = 1;  // this thread among them
  if (!(std::ifstream("/proc/loadavg") >> minute >> five >> fifteen >> running)) return cores();
  const int busy = std::min(static_cast<int>(std::lround(minute)), running - 1);
  return std::max(1, cores() - std::max(0, busy));
}

}  // namespace fewshift
