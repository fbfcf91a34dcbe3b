// Floats of one's own, or that lie in memory which others share: those are copied when they are first written
// to. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace fewshift {

class Floats {
 public:
  Floats() = default;
  Floats(std::vector<float> own) : own_(std::move(own)) {}
  Floats(std::initializer_list<float> own) : own_(own) {}
  Floats(size_t size, float value) : own_(size, value) {}
  Floats(std::shared_ptr<const float> shared, size_t size) : shared_(std::move(shared)), size_(size) {}

  size_t size() const { return shared_ ? size_ : own_.size(); }
  bool empty() const { return size() == 0; }
  const float* data() const { return shared_ ? shared_.get() : own_.data(); }
  const float* begin() const { return data(); }
  const float* end() const { return data() + size(); }
  const float& operator[](size_t k) const { return data()[k]; }
  bool operator==(const Floats& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }

  // To write to.
  std::vector<float>& own() {
    if (shared_) {
      own_.assign(shared_.get(), shared_.get() + size_);
      shared_ = nullptr;
    }
    return own_;
  }
  float* begin() { return own().data(); }
  float* end() { return own().data() + own_.size(); }
  float& operator[](size_t k) { return own()[k]; }

 private:
  std::shared_ptr<const float> shared_;
  size_t size_ = 0;
  std::vector<float> own_;
};

}  // namespace fewshift
