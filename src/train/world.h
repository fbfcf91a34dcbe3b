// The processes that train together, and what they say to one another: LibTorch's c10d.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>

#include "train/launch.h"

namespace fewshift {

// Everything here is called by all processes, in the same order. Whatever throws does so as Error (kIo):
// where another process has ended or has not answered for so long as the launch allows. After that the world
// is lost: nothing more can be said in it.
class World {
 public:
  World();  // of this process alone: nothing is sent
  // Meets the others. `timeout`: how long one waits for another, s. On the CPU over gloo; tensors on a GPU
  // over NCCL, where this build has it. SIGPIPE is ignored from then on.
  World(const Launch& launch, double timeout, torch::Device device = torch::kCPU);
  ~World();
  World(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool alone() const { return size_ == 1; }
  bool leads() const { return rank_ == 0; }
  int local_size() const { return launch_.local_size; }  // on this machine
  int cores_here() const;                                // this process's share of the machine's

  // Sums over all processes, in place. `tensor` must be contiguous.
  void add_up(torch::Tensor& tensor);
  // The same while this process goes on; the tensor holds the sums once the function returned has returned.
  // On a road of its own: it does not hold up those of add_up.
  [[nodiscard]] std::function<void()> start_adding_up(torch::Tensor& tensor);
  // What rank 0 has.
  void share(std::string& text);
  // What each has, by rank.
  std::vector<std::string> gather(const std::string& text);
  // Whether all have the same.
  bool agree(const std::string& text);

  // After a failure of this process, or Error of the world: whether this process is to say so. Of all that
  // fail one does, or, where the others cannot be asked, one on each machine.
  bool speaks_of_failure();
  bool lost() const { return lost_; }

  // Of all calls so far: how many, and the bytes of the tensors that were added up.
  struct Traffic {
    int64_t sums = 0, bytes = 0;
  };
  const Traffic& waited_for() const { return near_; }  // add_up
  const Traffic& meanwhile() const { return far_; }    // start_adding_up

 private:
  struct Roads;
  template <class F>
  void say(F f);
  void add_up_small(torch::Tensor& tensor);
  bool claim_failure();

  int rank_ = 0, size_ = 1;
  Launch launch_;
  bool lost_ = false;
  Traffic near_, far_;
  std::unique_ptr<Roads> roads_;
};

}  // namespace fewshift
