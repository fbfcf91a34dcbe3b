// Line charts on a page, by Chart.js: readable in light and dark, by keyboard, and as a table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <limits>
#include <string>
#include <vector>

namespace fewshift::html {

struct Line {
  std::string name;
  std::vector<double> x, y;  // a NaN is a gap
  int colour = 0;            // lines of one number have one colour
  bool dashed = false;       // and on top of those that are not
  bool counts = false;       // bars, by an axis of their own at the right
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Line> lines;
  double y_min = std::numeric_limits<double>::quiet_NaN(), y_max = y_min;  // NaN: what the lines need
  bool diagonal = false;                                                   // from 0,0 to 1,1
  bool log_y = false;                                                      // for positive values
};

// A figure that charts_script() fills.
std::string chart(const Chart& chart);
// Once, at the end of a page with charts: the library and what draws them.
std::string charts_script();

}  // namespace fewshift::html
