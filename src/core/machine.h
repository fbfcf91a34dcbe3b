// What this runs on, for people to read. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace fewshift {

// "AMD EPYC, 2 processors": the processor's name as Linux has it, else its architecture.
std::string machine_name();

}  // namespace fewshift
