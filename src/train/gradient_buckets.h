// The gradients of several processes added up, in pieces, while the backward pass still makes the others.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <functional>
#include <vector>

#include "nn/network.h"
#include "train/world.h"

namespace fewshift {

// As PyTorch's DistributedDataParallel (Li et al., VLDB 2020): parameters in about the reverse order of their
// use share buckets of so many bytes, and one that is full goes on its way, in the same order everywhere.
class GradientBuckets {
 public:
  // The world must outlive it.
  GradientBuckets(World& world, Network network, int64_t bucket_bytes = 1 << 20);
  // Before a backward pass: of the parameters that want a gradient now.
  void start();
  // After it: waits, and leaves in the gradients the sums over all processes (0 where a parameter got none).
  void finish();
  // That go to the others in a step.
  int64_t bytes() const;

 private:
  struct Slice {
    torch::Tensor parameter;
    size_t bucket;
    torch::Tensor place;  // shaped and laid out as the parameter, in its bucket
  };
  struct Bucket {
    torch::Tensor values;
    int64_t missing = 0;  // parameters whose gradient is not there yet
    std::function<void()> wait;
  };
  void lay_out(const std::vector<bool>& wanted);
  void take(size_t parameter, const torch::Tensor& gradient);
  void send_full();

  World& world_;
  int64_t bucket_bytes_;
  std::vector<torch::Tensor> parameters_;  // the last used first
  std::vector<bool> hooked_, wanted_;
  std::vector<Slice> slices_;      // of the wanted ones
  std::vector<int64_t> slice_of_;  // of each parameter, or -1
  std::vector<Bucket> buckets_;
  size_t sent_ = 0;
  bool counting_ = false;  // between start and finish
};

}  // namespace fewshift
