// Mixup and CutMix: batches whose pictures are blended with, or cut into, one another.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

namespace fewshift {

struct Mixed {
  torch::Tensor images;  // [N,3,S,S]
  torch::Tensor labels;  // [N]
  torch::Tensor others;  // [N]: labels of the pictures mixed in; undefined where none are
  double share = 1;      // of `labels` in the target; the rest is of `others`

  // Of the two labels of a picture, the one with the larger share.
  const torch::Tensor& main_labels() const { return others.defined() && share < 0.5 ? others : labels; }
};

// mixup, cutmix: the alphas of their Beta(alpha, alpha) shares (Zhang et al. 2018; Yun et al. 2019); 0: none,
// so that the batch comes back as it is. With both, one of them, evenly. Draws from LibTorch's generator.
Mixed mix(const torch::Tensor& images, const torch::Tensor& labels, double mixup, double cutmix);

// What the pictures of a batch count together: N, or, with weight [classes], the weights of their labels; of
// both labels.
struct Counts {
  double labels = 0, others = 0;
};
Counts counts_of(const Mixed& batch, const torch::Tensor& weight);

// Cross entropy of the logits [N,classes], summed and divided by `counts`: counts_of the batch for the mean,
// or of all of a batch of which this is a part. weight: [classes], or undefined.
torch::Tensor mixed_loss(const torch::Tensor& logits, const Mixed& batch, const torch::Tensor& weight,
                         double label_smoothing, const Counts& counts);

}  // namespace fewshift
