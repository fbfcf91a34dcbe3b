// Learns the displacements of a network: their own optimiser, the shift penalty, pruning to a target
// sparsity, freezing. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "nn/network.h"
#include "train/recipe.h"
#include "train/world.h"

namespace fewshift {

// The road of a run of `steps` steps, with the recipe's shares of it:
//   up to freeze_from    displacements follow the loss (Adam: the step is scaled by channel; or SGD), with
//   the L1
//                        penalty if asked
//   prune_from to        ssl: in eight strides, those shifts are taken away whose removal costs the loss
//   least
//     prune_until        (ShiftLayerImpl::removal_cost), until the target sparsity is reached; what is pruned
//     stays at 0
//   from freeze_from,    displacements stand still, the weights settle
//     or prune_until if earlier
// Does nothing where the operator's displacements are not learned, or are kept as train.init had them.
class ShiftLearner {
 public:
  ShiftLearner(Network network, const Recipe& recipe, int64_t steps, World& world);

  // Before the forward pass of step `step` (from 0): freezes, and switches the measuring of removal costs.
  void before_step(int64_t step);
  // After its backward pass, with the weights' learning rate of the step.
  void after_step(int64_t step, double learning_rate);

  // After the last step: whatever pruning is still due.
  void finish();
  // Whether the sparsity that was asked for has been reached, so that no shift will be taken away any more.
  bool settled() const { return done_ == events_.size(); }

  // What a resumed run needs, by name; and back. By all processes together.
  std::map<std::string, torch::Tensor> state();
  void load_state(const std::map<std::string, torch::Tensor>& state);

 private:
  struct Layer {
    std::string name;
    ShiftLayer shift;
    torch::Tensor first, second;  // moments, [C,2]
    torch::Tensor kept;           // 1 or 0, [C,1]: 0 where pruned
    torch::Tensor cost;           // [C] float64, since the last pruning
  };
  struct Event {  // pruning after step `step`, to `sparsity`
    int64_t step;
    double sparsity;
  };

  void update(Layer& layer, int64_t step, double learning_rate);
  void adam(Layer& layer, const torch::Tensor& grad, int64_t step, double rate, double penalty);
  void sgd(Layer& layer, const torch::Tensor& grad, double rate, double penalty);
  double penalty(int64_t step) const;
  void prune_until(int64_t step);
  void add_up_costs();  // each process measured its own pictures
  void prune(double sparsity, bool last);
  void wake(int64_t channels);  // the unshifted channels nearest to moving get a shift

  Network network_;
  Recipe recipe_;
  World& world_;
  int64_t steps_;
  bool active_;
  int64_t freeze_step_;
  std::vector<Layer> layers_;
  std::vector<Event> events_;
  size_t done_ = 0;  // of the events
};

}  // namespace fewshift
