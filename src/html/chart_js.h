// Chart.js, which draws the charts of pages: as the system has it when this is built.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace fewshift::html {

// The library's script, to stand in a page.
std::string_view chart_js();

}  // namespace fewshift::html
