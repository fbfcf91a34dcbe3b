// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace fewshift {

// What one call computes of an output map: some blocks of channels, some rows.
struct Part {
  int64_t block_begin, block_end, row_begin, row_end;
};

}  // namespace fewshift
