// Mixed precision.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/autocast_mode.h>

#include "core/cpu.h"

namespace fewshift {

// Whether the processor has instructions for it, as far as can be told: elsewhere LibTorch emulates them.
inline bool multiplies_bfloat16() {
#ifdef __x86_64__
  return has_avx512_bf16();  // what has AMX has it too
#else
  return true;
#endif
}

// While it lives, and if `on`, convolutions and matrix products run in bfloat16; weights stay float32.
class Autocast {
 public:
  explicit Autocast(bool on, at::DeviceType device = at::kCPU) : on_(on), device_(device) {
    if (!on_) return;
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::set_autocast_enabled(device_, true);
  }
  ~Autocast() {
    if (!on_) return;
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_;
  at::DeviceType device_;
};

}  // namespace fewshift
