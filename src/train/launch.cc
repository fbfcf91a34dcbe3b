// SPDX-License-Identifier: Apache-2.0
#include "train/launch.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/fnv.h"

namespace fewshift {
namespace {

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  bool has(const char* name) const { return value(name) != nullptr; }
  std::string text(const char* name) const { return has(name) ? value(name) : ""; }
  std::string get(const char* name) const {
    if (!has(name))
      throw Error(ErrorCode::kInvalidArgument, name, "is not set, but the launcher's others are");
    return value(name);
  }
  int number(const char* name, int low, int high) const {
    const std::string digits = get(name);
    int result = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), result);
    if (error != std::errc() || end != digits.data() + digits.size() || result < low || result > high)
      throw Error(ErrorCode::kInvalidArgument, name,
                  "must be a number from " + std::to_string(low) + " to " + std::to_string(high) +
                      ", but is \"" + digits + "\"");
    return result;
  }
  int number(const char* name, int low, int high, int otherwise) const {
    return has(name) ? number(name, low, high) : otherwise;
  }

 private:
  const char* value(const char* name) const {
    const char* found = environment_(name);
    return found && *found ? found : nullptr;
  }
  const Environment& environment_;
};

constexpr int kMostProcesses = 1 << 16, kMostRestarts = INT_MAX;

Launch launch_by(const Variables& v, const char* launcher, const char* rank, const char* size,
                 const char* local_rank, const char* local_size) {
  Launch launch;
  launch.launcher = launcher;
  launch.size = v.number(size, 1, kMostProcesses);
  launch.rank = v.number(rank, 0, launch.size - 1);
  launch.local_size = v.number(local_size, 1, launch.size, launch.size);
  launch.local_rank = v.number(local_rank, 0, launch.size - 1, launch.rank);
  return launch;
}

// Of Slurm's list of tasks on each machine, "4(x2),3", that of machine `node` from 0; 1 where it says
// nothing.
int tasks_on(const std::string& list, int node) {
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string part = list.substr(at, end - at);
    const size_t times = part.find("(x");
    node -= times == std::string::npos ? 1 : std::max(1, std::atoi(part.c_str() + times + 2));
    if (node < 0) return std::atoi(part.c_str());
    at = end + 1;
  }
  return 1;
}

// Other launches are to meet elsewhere. Below what systems give out by themselves.
int port_of(const std::string& name) {
  return 20000 + static_cast<int>(fnv(name) % 10000);
}

}  // namespace

std::string first_host(const std::string& nodes) {
  const size_t open = nodes.find_first_of("[,");
  if (open == std::string::npos || nodes[open] == ',') return nodes.substr(0, open);
  const size_t end = nodes.find_first_of(",-]", open), close = nodes.find(']', open);
  std::string host = nodes.substr(0, open);
  if (close == std::string::npos) return host;
  host.append(nodes, open + 1, end - open - 1);
  return host.append(nodes, close + 1, nodes.find(',', close) - close - 1);
}

std::optional<Launch> launch_from(const Environment& environment) {
  const Variables v(environment);
  Launch launch;
  if (v.has("RANK") && v.has("WORLD_SIZE")) {
    launch = launch_by(v, "torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE");
    launch.address = v.get("MASTER_ADDR");
    launch.port = v.number("MASTER_PORT", 1, 65535);
    const char* agent = environment("TORCHELASTIC_USE_AGENT_STORE");
    launch.agent_store = agent && std::strcmp(agent, "True") == 0;
    launch.name = v.text("TORCHELASTIC_RUN_ID");
    launch.restarts = v.number("TORCHELASTIC_RESTART_COUNT", 0, kMostRestarts, 0);
  } else if (v.has("OMPI_COMM_WORLD_RANK")) {
    launch = launch_by(v, "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                       "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
    if (v.has("MASTER_ADDR") || launch.local_size < launch.size)
      launch.address = v.get("MASTER_ADDR");
    else
      launch.address = "127.0.0.1";
    launch.name = v.text("PMIX_NAMESPACE");
    launch.port = v.number("MASTER_PORT", 1, 65535, port_of(launch.name));
  } else if (v.has("SLURM_STEP_NUM_TASKS") && v.has("SLURM_PROCID")) {
    launch = launch_by(v, "Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "");
    if (v.has("SLURM_STEP_TASKS_PER_NODE"))
      launch.local_size = std::clamp(
          tasks_on(v.get("SLURM_STEP_TASKS_PER_NODE"), v.number("SLURM_NODEID", 0, kMostProcesses, 0)), 1,
          launch.size);
    launch.address = v.has("MASTER_ADDR")              ? v.get("MASTER_ADDR")
                     : launch.local_size < launch.size ? first_host(v.get("SLURM_STEP_NODELIST"))
                                                       : "127.0.0.1";
    launch.name = v.text("SLURM_JOB_ID") + "." + v.text("SLURM_STEP_ID");
    launch.port = v.number("MASTER_PORT", 1, 65535, port_of(launch.name));
    launch.restarts = v.number("SLURM_RESTART_COUNT", 0, kMostRestarts, 0);
  }
  if (launch.size == 1 && launch.restarts == 0) return std::nullopt;
  return launch;
}

}  // namespace fewshift
