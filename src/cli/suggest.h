// What was meant by a word that is none of those there are.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace fewshift::cli {

// ": was NAME meant?" for the name nearest to `word`, or "." where none is near: more than a third of its
// letters would have to be changed, left out or put in.
std::string was_meant(const std::string& word, const std::vector<std::string>& names);

}  // namespace fewshift::cli
