// A part of a data set, and the seeded cut of one in two.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"

namespace fewshift {

class Subset : public Dataset {
 public:
  // indices: ascending
  Subset(std::shared_ptr<const Dataset> dataset, std::vector<size_t> indices)
      : dataset_(std::move(dataset)), indices_(std::move(indices)) {}
  size_t size() const override { return indices_.size(); }
  int label(size_t index) const override { return dataset_->label(indices_[index]); }
  std::string name(size_t index) const override { return dataset_->name(indices_[index]); }
  std::shared_ptr<const Image> image(size_t index) const override { return dataset_->image(indices_[index]); }
  std::shared_ptr<const Image> image(size_t index, const Wanted& wanted) const override {
    return dataset_->image(indices_[index], wanted);
  }
  std::string file(size_t index) const override { return dataset_->file(indices_[index]); }
  Contents contents() const override { return dataset_->contents(); }
  std::vector<std::pair<size_t, size_t>> runs() const override;

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::vector<size_t> indices_;
};

struct Split {
  std::vector<size_t> rest, part;  // both ascending; together 0 to size - 1
};

// `part` gets `share` of `size` numbers, rounded, but at least one, and leaves at least one: a choice that
// depends on size, share and seed alone. size >= 2.
Split split_at_random(size_t size, double share, uint64_t seed);
// The same for each class by itself: of one picture, none.
Split split_by_class(const Dataset& dataset, double share, uint64_t seed);

}  // namespace fewshift
