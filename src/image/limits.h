// The largest picture the library reads or makes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace fewshift {

inline constexpr int64_t kMaxPixels = int64_t{1} << 27;

}  // namespace fewshift
