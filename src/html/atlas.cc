// SPDX-License-Identifier: Apache-2.0
#include "html/atlas.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "html/charts.h"
#include "html/page.h"

namespace fewshift::html {
namespace {

using Shift = std::pair<int, int>;
using Histogram = std::map<Shift, int64_t>;

constexpr int kMostReach = 4;        // px of a grid; what lies farther is counted at its side
constexpr size_t kMostArrows = 300;  // of a layer

Shift rounded(const std::array<double, 2>& move) {
  return {static_cast<int>(std::nearbyint(move[0])), static_cast<int>(std::nearbyint(move[1]))};
}

Histogram histogram(const Moves& moves) {
  Histogram counts;
  for (const auto& move : moves) ++counts[rounded(move)];
  return counts;
}

double still_share(const Moves& moves) {
  const auto still =
      std::count_if(moves.begin(), moves.end(), [](const auto& m) { return rounded(m) == Shift{}; });
  return moves.empty() ? 1 : static_cast<double>(still) / static_cast<double>(moves.size());
}

int farthest(const Moves& moves) {
  int most = 0;
  for (const auto& move : moves)
    most = std::max({most, std::abs(rounded(move).first), std::abs(rounded(move).second)});
  return most;
}

// How many channels make each move: a cell each, darker for more; the middle one, of those that stay, apart.
std::string grid(const Moves& moves, int reach) {
  constexpr int kCell = 22;
  const Histogram counts = histogram(moves);
  int64_t most = 1, beyond = 0;
  for (const auto& [move, count] : counts) {
    if (move != Shift{}) most = std::max(most, count);
    if (std::max(std::abs(move.first), std::abs(move.second)) > reach) beyond += count;
  }
  const int side = (2 * reach + 1) * kCell;
  const std::string box = std::to_string(side);
  std::string svg = "<svg class=\"grid\" viewBox=\"0 0 " + box + " " + box + "\" width=\"" + box +
                    "\" height=\"" + box + "\" role=\"img\" aria-label=\"channels by displacement\">";
  for (int dy = -reach; dy <= reach; ++dy) {
    for (int dx = -reach; dx <= reach; ++dx) {
      const auto found = counts.find({dy, dx});
      const int64_t count = found == counts.end() ? 0 : found->second;
      const bool middle = dy == 0 && dx == 0;
      const double depth = middle ? 0 : std::sqrt(static_cast<double>(count) / static_cast<double>(most));
      const std::string x = std::to_string((dx + reach) * kCell), y = std::to_string((dy + reach) * kCell);
      svg += "<rect x=\"" + x + "\" y=\"" + y + "\" width=\"" + std::to_string(kCell - 1) + "\" height=\"" +
             std::to_string(kCell - 1) + "\" class=\"" + (middle ? "middle" : "cell") +
             "\" style=\"--v:" + fixed(depth, 3) + "\"><title>dy " + std::to_string(dy) + ", dx " +
             std::to_string(dx) + ": " + std::to_string(count) + "</title></rect>";
      if (count > 0)
        svg += "<text x=\"" + std::to_string((dx + reach) * kCell + kCell / 2) + "\" y=\"" +
               std::to_string((dy + reach) * kCell + kCell / 2 + 3) + "\" class=\"" +
               (depth > 0.6 ? "on" : "") + "\">" + std::to_string(count) + "</text>";
    }
  }
  svg += "</svg>";
  if (beyond > 0) svg += "<br>" + std::to_string(beyond) + " farther";
  return svg;
}

// A line from where each channel began to where it is.
std::string arrows(const AtlasLayer& layer, int reach) {
  constexpr double kCell = 22;
  const double side = (2 * reach + 1) * kCell;
  auto place = [&](double v) {
    return fixed((std::clamp(v, -reach - 0.45, reach + 0.45) + reach + 0.5) * kCell, 1);
  };
  const std::string box = fixed(side, 0);
  std::string svg = "<svg class=\"grid\" viewBox=\"0 0 " + box + " " + box + "\" width=\"" + box +
                    "\" height=\"" + box + "\" role=\"img\" aria-label=\"where channels began and ended\">";
  for (int k = 0; k <= 2 * reach + 1; ++k) {
    const std::string at = fixed(k * kCell, 0);
    svg += "<path class=\"line\" d=\"M" + at + " 0V" + box + "M0 " + at + "H" + box + "\"/>";
  }
  const size_t step = std::max<size_t>(1, (layer.now.size() + kMostArrows - 1) / kMostArrows);
  for (size_t c = 0; c < layer.now.size(); c += step) {
    const auto &from = layer.start[c], &to = layer.now[c];
    svg += "<path class=\"" + std::string(rounded(to) == Shift{} ? "home" : "away") + "\" d=\"M" +
           place(from[1]) + " " + place(from[0]) + "L" + place(to[1]) + " " + place(to[0]) +
           "\"/><circle r=\"1.6\" cx=\"" + place(to[1]) + "\" cy=\"" + place(to[0]) + "\" class=\"" +
           (rounded(to) == Shift{} ? "home" : "away") + "\"/>";
  }
  return svg + "</svg>" + (step > 1 ? "<br>one channel in " + std::to_string(step) : "");
}

// Means over squares of side 2 reach + 1 as far as they lie in the plane [height][width]: rows, then columns.
std::vector<double> smoothed(std::vector<double> plane, int height, int width, int reach) {
  const auto along = [reach](std::vector<double>& values, int lines, int length, int to_line, int to_next) {
    std::vector<double> sums(static_cast<size_t>(length) + 1);
    for (int line = 0; line < lines; ++line) {
      double* const first = values.data() + static_cast<std::ptrdiff_t>(line) * to_line;
      for (int k = 0; k < length; ++k)
        sums[k + 1] = sums[k] + first[static_cast<std::ptrdiff_t>(k) * to_next];
      for (int k = 0; k < length; ++k) {
        const int from = std::max(0, k - reach), to = std::min(length, k + reach + 1);
        first[static_cast<std::ptrdiff_t>(k) * to_next] = (sums[to] - sums[from]) / (to - from);
      }
    }
  };
  along(plane, height, width, width, 1);
  along(plane, width, height, 1, width);
  return plane;
}

// Where the last map's middle begins in a picture's side: offsets count from a pixel's first row and column.
int middle(int side, const Reach& reach) {
  return std::max(0, side - reach.jump) / 2;
}

// Of every pixel of a picture, the share of the weight within the picture that lies on pixels of more weight:
// 0 for the heaviest. Strides make a comb of the weight, which is smoothed; of what lies beyond the picture
// the reach has but the sum, at its radius.
std::vector<double> weight_above(const Reach& reach, int height, int width) {
  std::vector<double> plane(static_cast<size_t>(height) * width, 0.0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int dy = y - middle(height, reach), dx = x - middle(width, reach);
      if (std::max(std::abs(dy), std::abs(dx)) < reach.radius)
        plane[static_cast<size_t>(y) * width + x] = reach.at(dy, dx);
    }
  }
  const int smooth = std::max(1, std::min(height, width) / 16);
  plane = smoothed(smoothed(plane, height, width, smooth), height, width, smooth);
  std::vector<size_t> order(plane.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return plane[a] > plane[b]; });
  const double all = std::accumulate(plane.begin(), plane.end(), 0.0);
  std::vector<double> above(plane.size());
  double sum = 0;
  for (size_t k : order) above[k] = plane[k] > 0 ? sum / all : 1, sum += plane[k];
  return above;
}

// The picture, bright where the network sees, a line around the half of it, a frame around all that it can.
Image seen(const Image& picture, const Reach& reach) {
  Image image = picture;
  const std::vector<double> above = weight_above(reach, image.height, image.width);
  const auto in_half = [&](int y, int x) {
    return above[static_cast<size_t>(std::clamp(y, 0, image.height - 1)) * image.width +
                 std::clamp(x, 0, image.width - 1)] < 0.5;
  };
  const int cy = middle(image.height, reach), cx = middle(image.width, reach);
  const int top = cy - reach.farthest[0], bottom = cy + reach.farthest[1], left = cx - reach.farthest[2],
            right = cx + reach.farthest[3];
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const double light = 1 - 0.85 * above[static_cast<size_t>(y) * image.width + x];
      uint8_t* const p = &image.pixels[(static_cast<size_t>(y) * image.width + x) * 3];
      for (int c = 0; c < 3; ++c) p[c] = static_cast<uint8_t>(std::lround(p[c] * light));
      const bool line = in_half(y, x) &&
                        !(in_half(y - 1, x) && in_half(y + 1, x) && in_half(y, x - 1) && in_half(y, x + 1));
      if (line) p[0] = 0, p[1] = 220, p[2] = 255;
      const bool frame = ((y == top || y == bottom) && x >= left && x <= right) ||
                         ((x == left || x == right) && y >= top && y <= bottom);
      if (frame) p[0] = 255, p[1] = 190, p[2] = 0;
    }
  }
  return image;
}

std::string reach_section(const Atlas& atlas, const std::map<std::string, Moves>& moves) {
  const Reach reach = reach_of(atlas.arch, moves, atlas.size), still = reach_of(atlas.arch, {}, atlas.size);
  auto span = [](const Reach& r) {
    return std::to_string(r.farthest[0] + r.farthest[1] + 1) + " &times; " +
           std::to_string(r.farthest[2] + r.farthest[3] + 1) + " px";
  };
  const bool beyond =
      std::min(reach.farthest[0] + reach.farthest[1], reach.farthest[2] + reach.farthest[3]) >= atlas.size;
  std::string html =
      "<h2>How far the stack can see</h2>\n<p>A pixel in the middle of the last map can see " + span(reach) +
      (beyond ? ", more than the whole input of " : " of the input of ") + std::to_string(atlas.size) +
      " &times; " + std::to_string(atlas.size) + " px (" + std::to_string(reach.farthest[0]) + " up, " +
      std::to_string(reach.farthest[1]) + " down, " + std::to_string(reach.farthest[2]) + " left, " +
      std::to_string(reach.farthest[3]) + " right); without any shift it would be " + span(still) +
      ". Half of its weight lies within " + std::to_string(reach.half_side(0.5)) +
      " px of the middle, 95% within " + std::to_string(reach.half_side(0.95)) +
      ", if every layer mixed its channels evenly and a shortcut carried half.</p>\n";
  if (atlas.picture) {
    constexpr int kSide = 384;
    const bool framed = *std::max_element(reach.farthest.begin(), reach.farthest.end()) < atlas.size / 2;
    html += "<div class=\"row\"><figure class=\"wide\">" +
            picture(*atlas.picture, kSide, "a picture of the set") +
            "<figcaption>A picture, as the network is given it</figcaption></figure><figure class=\"wide\">" +
            picture(seen(*atlas.picture, reach), kSide, "what the middle of the last map sees of it") +
            "<figcaption>What the middle of the last map sees of it: the brighter, the more; half of that "
            "lies within the blue line" +
            (framed ? ", all that it can within the frame" : "") + "</figcaption></figure></div>\n";
  }
  return html;
}

std::string depth_section(const Atlas& atlas) {
  Chart sparsity, length;
  sparsity.title = "Channels that stay, by depth", sparsity.y_label = "share unshifted";
  length.title = "How far the others look, by depth", length.y_label = "mean distance, input px";
  sparsity.x_label = length.x_label = "shift layer";
  sparsity.y_min = 0, sparsity.y_max = 1, length.y_min = 0;
  Line now, start, distance;
  now.name = "now", start.name = "at the start", start.dashed = true, start.colour = 1, distance.name = "now";
  const std::map<std::string, int> jumps = jumps_of(atlas.arch);
  for (size_t k = 0; k < atlas.layers.size(); ++k) {
    const AtlasLayer& layer = atlas.layers[k];
    const auto at = static_cast<double>(k + 1);
    now.x.push_back(at), now.y.push_back(still_share(layer.now));
    if (!layer.start.empty()) start.x.push_back(at), start.y.push_back(still_share(layer.start));
    double sum = 0, moved = 0;
    for (const auto& move : layer.now) {
      const auto [dy, dx] = rounded(move);
      if (dy != 0 || dx != 0) sum += std::hypot(dy, dx), ++moved;
    }
    const auto jump = jumps.find(layer.name.substr(0, layer.name.rfind('.')));
    distance.x.push_back(at);
    distance.y.push_back(moved > 0 ? sum / moved * (jump == jumps.end() ? 1 : jump->second) : std::nan(""));
  }
  sparsity.lines.push_back(now);
  if (!start.x.empty()) sparsity.lines.push_back(start);
  length.lines.push_back(distance);
  return "<h2>By depth</h2>\n<div class=\"charts\">" + chart(sparsity) + chart(length) + "</div>\n";
}

std::string layer_cards(const Atlas& atlas) {
  std::string html =
      "<h2>Layer by layer</h2>\n<p>Channels by displacement: a cell above the middle looks up (dy below 0), "
      "one to its "
      "right looks right. The middle counts those that stay.</p>\n<div class=\"row\">\n";
  for (const AtlasLayer& layer : atlas.layers) {
    const int reach = std::clamp(farthest(layer.now), 1, kMostReach);
    html += "<figure class=\"layer\"><b>" + escape(layer.name) + "</b>" + grid(layer.now, reach) +
            "<figcaption>" + std::to_string(layer.now.size()) + " channels, " +
            percent(still_share(layer.now), 1) + " stay<br>map " + std::to_string(layer.height) +
            " &times; " + std::to_string(layer.width);
    if (layer.microseconds >= 0) {
      const double cost = layer.microseconds - layer.still_microseconds;
      html += "<br>its shifts: " + fixed(cost, 1) + " of " + fixed(layer.microseconds, 1) + " &micro;s";
    }
    html += "</figcaption></figure>\n";
  }
  return html + "</div>\n";
}

// Values by layer, a row each, and epoch, a column each; at most kColumns of them, the last among them.
std::string by_epoch(const Atlas& atlas, const std::string& title, std::vector<double> AtlasLayer::*values,
                     double most, int digits) {
  constexpr size_t kColumns = 40;
  std::vector<size_t> shown;
  const size_t epochs = atlas.epochs.size(), columns = std::min(epochs, kColumns);
  for (size_t k = 0; k < columns; ++k) shown.push_back((k + 1) * epochs / columns - 1);
  std::string table = "<table class=\"matrix history\"><tr><th scope=\"col\">layer</th>";
  for (size_t k = 0; k < columns; ++k) {
    const bool named = k == 0 || k + 1 == columns || (columns - 1 - k) % 5 == 0;
    table +=
        "<th scope=\"col\" class=\"n\">" + (named ? std::to_string(atlas.epochs[shown[k]]) : "") + "</th>";
  }
  table += "<th scope=\"col\" class=\"n\">last</th></tr>\n";
  for (const AtlasLayer& layer : atlas.layers) {
    const std::vector<double>& row = layer.*values;
    if (row.size() != epochs) continue;
    table += "<tr><th scope=\"row\">" + escape(layer.name) + "</th>";
    for (size_t k : shown)
      table += "<td class=\"hit\" style=\"--v:" + fixed(most > 0 ? row[k] / most : 0, 3) +
               "\" title=\"epoch " + std::to_string(atlas.epochs[k]) + ": " + fixed(row[k], digits) +
               "\"></td>";
    table += "<td class=\"n\">" + fixed(row.back(), digits) + "</td></tr>\n";
  }
  return "<h3>" + title + "</h3>\n" + region(title, table + "</table>");
}

std::string history(const Atlas& atlas) {
  if (atlas.epochs.empty()) return "";
  double farthest = 0;
  for (const AtlasLayer& layer : atlas.layers)
    for (double way : layer.travelled) farthest = std::max(farthest, way);
  return "<h2>Epoch by epoch</h2>\n<p>From the run's record: a row a layer, a column an epoch, darker for "
         "more.</p>\n" +
         by_epoch(atlas, "Share of channels that stay", &AtlasLayer::still, 1, 2) +
         by_epoch(atlas, "Mean distance of displacements from their start, px (of those that came home too)",
                  &AtlasLayer::travelled, farthest, 2);
}

std::string movement(const Atlas& atlas) {
  const bool known =
      std::any_of(atlas.layers.begin(), atlas.layers.end(), [](const auto& l) { return !l.start.empty(); });
  if (!known) return "";
  std::string html =
      "<h2>How they moved</h2>\n<p>From where a channel's displacement began to where it ended (the dot). "
      "<span class=\"home\">Those that came home</span>, and <span class=\"away\">those that still look "
      "away</span>.</p>\n"
      "<div class=\"row\">\n";
  for (const AtlasLayer& layer : atlas.layers) {
    if (layer.start.empty()) continue;
    const int reach = std::clamp(std::max(farthest(layer.now), farthest(layer.start)), 1, kMostReach);
    int64_t other = 0, home = 0, out = 0;
    for (size_t c = 0; c < layer.now.size(); ++c) {
      const Shift from = rounded(layer.start[c]), to = rounded(layer.now[c]);
      home += from != Shift{} && to == Shift{}, out += from == Shift{} && to != Shift{};
      other += from != Shift{} && to != Shift{} && from != to;
    }
    html += "<figure class=\"layer\"><b>" + escape(layer.name) + "</b>" + arrows(layer, reach) +
            "<figcaption>" + std::to_string(other) + " to another pixel, " + std::to_string(home) +
            " came home, " + std::to_string(out) + " left it</figcaption></figure>\n";
  }
  return html + "</div>\n";
}

std::string summary(const Atlas& atlas, const Moves& all) {
  std::string html = "<p>" + escape(atlas.arch.name) + ", " + escape(atlas.arch.shift) + ", " +
                     std::to_string(atlas.size) + " px: " + std::to_string(all.size()) + " channels in " +
                     std::to_string(atlas.layers.size()) + " shift layers, of which <b>" +
                     percent(still_share(all), 1) + " stay where they are</b>.</p>\n";
  const int reach = std::clamp(farthest(all), 1, kMostReach);
  html += "<div class=\"row\"><figure class=\"layer\"><b>All layers now</b>" + grid(all, reach) + "</figure>";
  Moves start;
  for (const AtlasLayer& layer : atlas.layers)
    start.insert(start.end(), layer.start.begin(), layer.start.end());
  if (!start.empty())
    html += "<figure class=\"layer\"><b>At the start</b>" +
            grid(start, std::clamp(farthest(start), 1, kMostReach)) + "</figure>";
  return html + "</div>\n";
}

}  // namespace

std::string atlas_page(const Atlas& atlas) {
  std::map<std::string, Moves> moves;
  Moves all;
  for (const AtlasLayer& layer : atlas.layers) {
    moves[layer.name] = layer.now;
    all.insert(all.end(), layer.now.begin(), layer.now.end());
  }
  return page("Shift atlas: " + atlas.name, summary(atlas, all) + depth_section(atlas) +
                                                reach_section(atlas, moves) + layer_cards(atlas) +
                                                movement(atlas) + history(atlas) + charts_script());
}

}  // namespace fewshift::html
