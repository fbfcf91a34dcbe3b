// Batch norm over the batches of several processes at once: what each of its sums must be added up with.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace fewshift {

// Adds a tensor up over all the processes that train together, in place. All of them call it for the same
// tensors in the same order.
using AddUp = std::function<void(at::Tensor&)>;

// For every batch norm that trains from now on, in this process; none (default): the batch here is all there
// is.
void set_batch_norm_sums(AddUp add_up);
bool has_batch_norm_sums();

// Without a function set, these leave everything as it is.
void add_up_sums(std::vector<double>& sums);
void add_up_sums(at::Tensor& sums);  // on any device
// Mean and biased variance, [C], of so many values a channel: from this process's to those of all.
void merge_moments(at::Tensor& mean, at::Tensor& variance, double& count);

}  // namespace fewshift
