// Keeps decoded pictures in memory, up to a number of bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"

namespace fewshift {

// Bytes that several caches may spend together.
class CacheBudget {
 public:
  explicit CacheBudget(size_t bytes) : left_(bytes) {}
  bool take(size_t bytes);  // false, and nothing taken, where fewer are left
  size_t left() const { return left_; }

 private:
  std::atomic<size_t> left_;
};

// The first pictures asked for are kept, as many as the budget allows; none is ever dropped for another.
class Cached : public Dataset {
 public:
  Cached(std::shared_ptr<const Dataset> dataset, std::shared_ptr<CacheBudget> budget)
      : dataset_(std::move(dataset)), budget_(std::move(budget)), kept_(dataset_->size()) {}
  size_t size() const override { return dataset_->size(); }
  int label(size_t index) const override { return dataset_->label(index); }
  std::string name(size_t index) const override { return dataset_->name(index); }
  std::shared_ptr<const Image> image(size_t index) const override;
  std::string file(size_t index) const override { return dataset_->file(index); }
  Contents contents() const override { return dataset_->contents(); }
  std::vector<std::pair<size_t, size_t>> runs() const override { return dataset_->runs(); }

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::shared_ptr<CacheBudget> budget_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Image>> kept_;
};

}  // namespace fewshift
