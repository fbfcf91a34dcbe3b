// A line of metrics.jsonl: what an epoch came to, and where the shifts stood at its end.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nlohmann/json.hpp>

#include "nn/network.h"
#include "train/observer.h"

namespace fewshift {

// Of a network with shifts also "layers": by the shift layer's name, the share of its channels that do not
// move ("shift_sparsity") and how far its displacements are from their start, px, on average ("travelled").
nlohmann::json epoch_record(const EpochReport& report, const Network& network);

}  // namespace fewshift
