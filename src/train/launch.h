// Which of several processes this one is, from what the launcher put into the environment.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <optional>
#include <string>

namespace fewshift {

// Processes that train together; ranks are from 0, "local" ones those of this machine.
struct Launch {
  std::string launcher;  // "torchrun", "Open MPI" or "Slurm"
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;
  std::string address;  // of the machine of rank 0, where they meet
  int port = 29500;
  std::string name;  // of this launch among others that may meet at the same place
  // torchrun's agent keeps the meeting place itself; after it restarted the processes for the n-th time, this
  // is n.
  bool agent_store = false;
  int restarts = 0;  // also Slurm's, of the job
};

// An environment variable, null where it is not set.
using Environment = std::function<const char*(const char*)>;

// In this order: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (torch.distributed's env://, as torchrun sets
// them; LOCAL_RANK and LOCAL_WORLD_SIZE where given); Open MPI's OMPI_COMM_WORLD_*; Slurm's, within an srun.
// For the latter two MASTER_ADDR is, unless given, this machine where all are on it, or the first of Slurm's
// step; MASTER_PORT depends on the launch, that no two meet. Nothing, where none of them launched more
// than one process. Throws Error (kInvalidArgument) naming the variable that is missing or out of range.
std::optional<Launch> launch_from(const Environment& environment);

// The first machine of a Slurm list: "a[003-010,12],b1" is "a003".
std::string first_host(const std::string& nodes);

}  // namespace fewshift
