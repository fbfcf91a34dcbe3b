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
  // size floats from `data` on, which lies in `memory`.
  Floats(std::shared_ptr<const void> memory, const float* data, size_t size)
      : memory_(std::move(memory)), data_(data), size_(size) {}

  size_t size() const { return memory_ ? size_ : own_.size(); }
  bool empty() const { return size() == 0; }
  const float* data() const { return memory_ ? data_ : own_.data(); }
  const float* begin() const { return data(); }
  const float* end() const { return data() + size(); }
  const float& operator[](size_t k) const { return data()[k]; }
  bool operator==(const Floats& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }

  // To write to.
  std::vector<float>& own() {
    if (memory_) {
      own_.assign(data_, data_ + size_);
      memory_ = nullptr;
    }
    return own_;
  }
  float* begin() { return own().data(); }
  float* end() { return own().data() + own_.size(); }
  float& operator[](size_t k) { return own()[k]; }

 private:
  std::shared_ptr<const void> memory_;
  const float* data_ = nullptr;
  size_t size_ = 0;
  std::vector<float> own_;
};

}  // namespace fewshift
