// SPDX-License-Identifier: Apache-2.0
#include "html/charts.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/json_text.h"
#include "html/chart_js.h"
#include "html/page.h"

namespace fewshift::html {
namespace {

using nlohmann::json;

// Colours are read from the page's style, so that they follow light and dark. Arrow keys walk along a chart
// that has the focus, as the mouse does.
constexpr const char* kScript = R"JS(
(() => {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = [];
  const style = chart => {
    const text = colour('--text'), line = colour('--line');
    for (const axis of Object.values(chart.options.scales)) {
      axis.ticks.color = axis.title.color = text;
      axis.grid.color = line;
    }
    chart.options.plugins.legend.labels.color = text;
    for (const set of chart.data.datasets) {
      set.borderColor = set.backgroundColor = set.number < 0 ? colour('--quiet') : colour('--run' + set.number % 6);
      if (set.type === 'bar') set.borderColor = set.backgroundColor += '50';
    }
  };
  for (const figure of document.querySelectorAll('figure.chart')) {
    const given = JSON.parse(figure.querySelector('script').textContent);
    const canvas = figure.querySelector('canvas');
    const whole = given.lines.every(line => line.points.every(([x]) => Number.isInteger(x)));
    const ten = y => 10 ** Math.floor(Math.log10(y) + 1e-9);
    const logarithmic = () => {  // from a one, two or five on, which alone are named
      const least = Math.min(...given.lines.flatMap(line => line.points.map(([, y]) => y ?? Infinity)));
      const named = y => [1, 2, 5].includes(Math.round(10 * y / ten(y)) / 10);
      return {type: 'logarithmic', min: ten(least) * [5, 2, 1].find(k => k * ten(least) <= least * 1.000001),
              ticks: {autoSkip: false, callback: y => named(y) ? String(+y.toPrecision(3)) : ''}};
    };
    const axis = (title, min, max, more) =>
      ({type: 'linear', min, max, title: {display: true, text: title}, ticks: {}, grid: {}, ...more});
    const chart = new Chart(canvas, {
      type: 'line',
      data: {datasets: given.lines.map(line => ({
        ...(line.counts ? {type: 'bar', yAxisID: 'counts', categoryPercentage: .9, barPercentage: 1} : {}),
        label: line.name, number: line.colour, borderDash: line.dashed ? [6, 4] : [], borderDashOffset: 5 * line.colour,
        borderWidth: 2, order: line.counts ? 2 : line.dashed ? 0 : 1,
        pointRadius: line.points.length > 40 ? 0 : 2.5, pointHitRadius: 8, tension: 0,
        data: line.points.map(([x, y]) => ({x, y}))}))},
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, parsing: false, spanGaps: false,
        interaction: {mode: 'nearest', axis: 'x', intersect: false},
        scales: {x: axis(given.x, given.x_min, given.x_max, whole ? {bounds: 'data', ticks: {precision: 0}} : {}),
                 y: axis(given.y, given.y_min, given.y_max, given.log_y ? logarithmic() : {}),
                 ...(given.lines.some(line => line.counts) ?
                     {counts: axis('pictures', 0, undefined, {position: 'right', ticks: {precision: 0}, grid: {display: false}})} : {})},
        plugins: {legend: {display: given.lines.length > 1, position: 'bottom',
                           labels: {sort: (a, b) => a.datasetIndex - b.datasetIndex, usePointStyle: true, pointStyle: 'line', pointStyleWidth: 36}},
                  tooltip: {callbacks: {title: items => items.length ? given.x + ' ' + items[0].label : ''}}}}});
    style(chart);
    chart.update();
    charts.push(chart);
    let at = -1;
    canvas.addEventListener('keydown', event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      event.preventDefault();
      const sets = chart.data.datasets.map(set => set.data);
      const longest = sets.reduce((a, b) => b.length > a.length ? b : a);
      at = Math.min(longest.length - 1, Math.max(0, at + step));
      const x = longest[at].x, far = (set, k) => Math.abs(set[k].x - x);
      const active = sets.map((set, k) => ({datasetIndex: k,
        index: set.reduce((best, point, i) => point.y !== null && far(set, i) < far(set, best) ? i : best, 0)}))
        .filter(item => sets[item.datasetIndex].length > 0 && sets[item.datasetIndex][item.index].y !== null);
      chart.setActiveElements(active);
      chart.tooltip.setActiveElements(active, {x: 0, y: 0});
      chart.update();
    });
    canvas.addEventListener('blur', () => {
      at = -1;
      chart.setActiveElements([]);
      chart.tooltip.setActiveElements([], {x: 0, y: 0});
      chart.update();
    });
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change',
    () => charts.forEach(chart => { style(chart); chart.update(); }));
})();
)JS";

json number(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return std::isfinite(value) ? text : "";
}

// A row for each x if all lines have the same ones; else each line has its own.
std::string table(const Chart& chart) {
  size_t rows = 0;
  bool same = true;
  for (const Line& line : chart.lines) {
    rows = std::max(rows, line.x.size());
    same = same && line.x == chart.lines[0].x;
  }
  std::string html = "<details><summary>As a table</summary><div class=\"scroll\"><table><tr>";
  for (const Line& line : chart.lines) {
    if (!same || &line == &chart.lines[0]) html += "<th class=\"n\">" + escape(chart.x_label) + "</th>";
    html += "<th class=\"n\">" + escape(line.name.empty() ? chart.y_label : line.name) + "</th>";
  }
  html += "</tr>";
  for (size_t k = 0; k < rows; ++k) {
    html += "<tr>";
    for (const Line& line : chart.lines) {
      const bool has = k < line.x.size();
      if (!same || &line == &chart.lines[0])
        html += "<td class=\"n\">" + (has ? shown(line.x[k]) : "") + "</td>";
      html += "<td class=\"n\">" + (has ? shown(line.y[k]) : "") + "</td>";
    }
    html += "</tr>";
  }
  return html + "</table></div></details>";
}

}  // namespace

std::string chart(const Chart& chart) {
  json lines = json::array();
  for (const Line& line : chart.lines) {
    json points = json::array();
    for (size_t k = 0; k < line.x.size(); ++k) points.push_back({number(line.x[k]), number(line.y[k])});
    lines.push_back({{"name", line.name},
                     {"colour", line.colour},
                     {"dashed", line.dashed},
                     {"counts", line.counts},
                     {"points", points}});
  }
  json data = {{"x", chart.x_label}, {"y", chart.y_label}, {"log_y", chart.log_y}};
  if (std::isfinite(chart.y_min)) data["y_min"] = chart.y_min;
  if (std::isfinite(chart.y_max)) data["y_max"] = chart.y_max;
  if (chart.diagonal) {
    data["x_min"] = 0, data["x_max"] = 1;
    lines.push_back(
        {{"name", "as sure as right"}, {"colour", -1}, {"dashed", true}, {"points", {{0, 0}, {1, 1}}}});
  }
  data["lines"] = lines;
  std::string text = json_text(data);
  for (size_t at = 0; (at = text.find('<', at)) != std::string::npos;) text.replace(at, 1, "\\u003c");
  return "<figure class=\"chart\"><figcaption>" + escape(chart.title) +
         "</figcaption><div class=\"canvas\"><canvas tabindex=\"0\" role=\"img\" aria-label=\"" +
         escape(chart.title + ": " + chart.y_label + " by " + chart.x_label + "; arrow keys read it") +
         "\"></canvas></div><script type=\"application/json\">" + text + "</script>" + table(chart) +
         "</figure>\n";
}

std::string charts_script() {
  return "<script>" + std::string(chart_js()) + "</script>\n<script>" + kScript + "</script>\n";
}

}  // namespace fewshift::html
