// The page of `fewshift data check --html`. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "data/check.h"

namespace fewshift::html {

// With the pictures themselves, at most some of each kind; those that cannot be opened any more are left out.
std::string data_check_page(const std::string& root, const DataCheck& check);

}  // namespace fewshift::html
