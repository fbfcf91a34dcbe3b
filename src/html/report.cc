// SPDX-License-Identifier: Apache-2.0
#include "html/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

#include "html/charts.h"
#include "html/page.h"

namespace fewshift::html {
namespace {

using nlohmann::json;

constexpr int64_t kMostMatrix = 40;  // classes that a matrix on a page can have
constexpr size_t kPictures = 16, kPairs = 12;

std::string heading(const std::string& title) {
  return "<h2>" + escape(title) + "</h2>\n";
}
std::string summary(const std::vector<ReportedRun>& runs) {
  std::string rows;
  for (const ReportedRun& run : runs) {
    const Predictions& p = run.predictions;
    rows += "<tr><td><code>" + escape(run.name) + "</code></td><td>" + escape(run.info.model) + "</td><td>" +
            escape(run.info.shift) + "</td><td class=\"n\"><b>" + percent(top1(p)) +
            "</b></td><td class=\"n\">" + fixed(mean_loss(p), 4) + "</td><td class=\"n\">" +
            std::to_string(p.size()) + " of " + run.split + "/</td><td class=\"n\">" +
            (run.sparsity >= 0 ? percent(run.sparsity) : "") + "</td><td class=\"n\">" +
            fixed(static_cast<double>(run.params) / 1e6, 3) + "M</td><td class=\"n\">" +
            fixed(static_cast<double>(run.madds) / 1e6, 1) + "M</td></tr>\n";
  }
  return region("Runs",
                "<table><tr><th>run</th><th>network</th><th>shift</th><th class=\"n\">top-1</th><th "
                "class=\"n\">loss</th>"
                "<th class=\"n\">pictures</th><th class=\"n\">unshifted</th><th class=\"n\">parameters</th>"
                "<th class=\"n\">M-Adds</th></tr>\n" +
                    rows + "</table>");
}

// Whether most of the lines would lie flat beside their largest value on a linear axis.
bool spans_widely(const std::vector<Line>& lines) {
  constexpr double kWide = 4;
  double least = INFINITY, most = 0;
  for (const Line& line : lines) {
    for (double y : line.y) {
      if (!std::isnan(y)) least = std::min(least, y), most = std::max(most, y);
    }
  }
  return least > 0 && most > kWide * least;
}

// A chart of fields of metrics.jsonl, the second dashed, or of one field every run but the first: equal
// lines are seen then. Nothing where no run has them.
std::string curve(const std::vector<ReportedRun>& runs, const std::string& title, const std::string& y_label,
                  const std::vector<std::pair<std::string, std::string>>& fields, bool is_loss = false) {
  Chart c;
  c.title = title, c.x_label = "epoch", c.y_label = y_label;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (size_t f = 0; f < fields.size(); ++f) {
      Line line;
      line.name =
          (runs.size() > 1 ? runs[r].name + (fields[f].second.empty() ? "" : ", ") : "") + fields[f].second;
      line.colour = static_cast<int>(runs.size() > 1 ? r : f),
      line.dashed = runs.size() > 1 && (fields.size() > 1 ? f : r) > 0;
      bool any = false;
      for (const json& epoch : runs[r].epochs) {
        const auto x = epoch.find("epoch"), y = epoch.find(fields[f].first);
        if (x == epoch.end() || !x->is_number()) continue;
        const bool has = y != epoch.end() && y->is_number();
        any = any || has;
        line.x.push_back(x->get<double>());
        line.y.push_back(has ? y->get<double>() : std::nan(""));
      }
      if (any) c.lines.push_back(line);
    }
  }
  c.log_y = is_loss && spans_widely(c.lines);
  if (c.log_y) c.y_label += ", logarithmic";
  return c.lines.empty() ? "" : chart(c);
}

std::string curves(const std::vector<ReportedRun>& runs) {
  const std::string charts =
      curve(runs, "Loss", "cross entropy", {{"train_loss", "train"}, {"val_loss", "val"}}, true) +
      curve(runs, "Top-1", "share right", {{"train_top1", "train"}, {"val_top1", "val"}}) +
      curve(runs, "Learning rate", "learning rate", {{"learning_rate", ""}}) +
      curve(runs, "Channels that do not move", "share unshifted", {{"shift_sparsity", ""}});
  if (charts.empty()) return "";
  return heading("Curves") +
         "<p class=\"quiet\">Training figures are under augmentation, means over the epoch. A chart that has "
         "the focus is "
         "read with the arrow keys.</p>\n<div class=\"charts\">\n" +
         charts + "</div>\n";
}

std::string matrix(const ReportedRun& run, const std::vector<int64_t>& confusion) {
  const int64_t classes = run.predictions.classes;
  std::string html =
      "<p><b>Rows: the true class. Columns: the predicted one.</b> Shares of the row, %.</p>\n";
  std::string table = "<table class=\"matrix\"><tr><th scope=\"col\">true \\ predicted</th>";
  for (const std::string& name : run.info.class_names)
    table += "<th scope=\"col\" class=\"up\"><span>" + escape(name) + "</span></th>";
  table += "<th scope=\"col\" class=\"n\">pictures</th></tr>\n";
  for (int64_t t = 0; t < classes; ++t) {
    const int64_t all =
        std::accumulate(confusion.begin() + t * classes, confusion.begin() + (t + 1) * classes, int64_t{0});
    table += "<tr><th scope=\"row\">" + escape(run.info.class_names[t]) + "</th>";
    for (int64_t g = 0; g < classes; ++g) {
      const int64_t count = confusion[t * classes + g];
      const double share = all > 0 ? static_cast<double>(count) / static_cast<double>(all) : 0;
      table += "<td class=\"" + std::string(t == g ? "hit" : "miss") +
               "\" style=\"--v:" + fixed(std::sqrt(share), 3) + "\" title=\"" +
               escape(run.info.class_names[t] + " as " + run.info.class_names[g]) + ": " +
               std::to_string(count) + "\">" + (count > 0 ? fixed(100 * share, share < 0.0995 ? 1 : 0) : "") +
               "</td>";
    }
    table += "<td class=\"n\">" + std::to_string(all) + "</td></tr>\n";
  }
  return html + region("Confusion matrix", table + "</table>");
}

std::string confused(const ReportedRun& run, const std::vector<int64_t>& confusion) {
  struct Pair {
    int64_t pictures, label, given;
  };
  std::vector<Pair> pairs;
  const int64_t classes = run.predictions.classes;
  for (int64_t t = 0; t < classes; ++t) {
    for (int64_t g = 0; g < classes; ++g) {
      if (t != g && confusion[t * classes + g] > 0) pairs.push_back({confusion[t * classes + g], t, g});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.pictures > b.pictures; });
  pairs.resize(std::min(pairs.size(), kPairs));
  if (pairs.empty()) return "<p>No picture was given another class than its own.</p>\n";
  std::string html = "<p>Most often: ";
  for (size_t k = 0; k < pairs.size(); ++k)
    html += (k > 0 ? "; " : "") + escape(run.info.class_names[pairs[k].label]) + " taken for " +
            escape(run.info.class_names[pairs[k].given]) + " (" + std::to_string(pairs[k].pictures) + ")";
  return html + ".</p>\n";
}

std::string class_table(const ReportedRun& run, const std::vector<int64_t>& confusion) {
  const auto scores = class_scores(confusion, run.predictions.classes);
  std::string rows;
  for (size_t c = 0; c < scores.size(); ++c)
    rows += "<tr><th scope=\"row\">" + escape(run.info.class_names[c]) + "</th><td class=\"n\">" +
            std::to_string(scores[c].pictures) + "</td><td class=\"n\">" + std::to_string(scores[c].given) +
            "</td><td class=\"n\">" + percent(scores[c].precision) + "</td><td class=\"n\">" +
            percent(scores[c].recall) + "</td><td class=\"n\">" + fixed(scores[c].f1, 4) + "</td></tr>\n";
  return region(
      "Scores by class",
      "<table><tr><th>class</th><th class=\"n\">pictures</th><th class=\"n\">predicted</th><th class=\"n\">"
      "precision</th><th class=\"n\">recall</th><th class=\"n\">F1</th></tr>\n" +
          rows + "</table>");
}

// Pictures in an order, the first of them.
std::string gallery(const ReportedRun& run, const std::vector<std::pair<double, int64_t>>& order) {
  constexpr int kSide = 160;
  std::string html = "<div class=\"row\">\n";
  for (size_t k = 0; k < std::min(order.size(), kPictures); ++k) {
    const int64_t n = order[k].second, label = run.predictions.labels[n],
                  given = predicted(run.predictions, n);
    const auto shares = probabilities(run.predictions, n);
    const std::string &own = run.info.class_names[label], &said = run.info.class_names[given];
    html += "<figure>";
    if (const auto image = run.picture(static_cast<size_t>(n))) html += picture(*image, kSide, own);
    html += "<figcaption><b>" + escape(said) + "</b> " + percent(shares[given]);
    if (given != label) html += "<br>is <b>" + escape(own) + "</b>, given " + percent(shares[label]);
    html += "<br><code>" + escape(run.names[n]) + "</code></figcaption></figure>\n";
  }
  return html + "</div>\n";
}

std::string pictures(const ReportedRun& run) {
  std::vector<std::pair<double, int64_t>> wrong, right;
  for (int64_t n = 0; n < run.predictions.size(); ++n) {
    const int64_t given = predicted(run.predictions, n);
    const double confidence = probabilities(run.predictions, n)[given];
    if (given == run.predictions.labels[n]) {
      right.emplace_back(confidence, n);
    } else {
      wrong.emplace_back(-confidence, n);
    }
  }
  std::sort(wrong.begin(), wrong.end()), std::sort(right.begin(), right.end());
  std::string html;
  if (!wrong.empty())
    html +=
        "<h3>The most confident mistakes</h3>\n<p class=\"quiet\">Look for wrong labels here first.</p>\n" +
        gallery(run, wrong);
  if (!right.empty()) html += "<h3>The least confident hits</h3>\n" + gallery(run, right);
  return html;
}

Line reliability_line(const std::string& name, const Reliability& r, int colour) {
  Line line;
  line.name = name + ", error " + percent(r.expected_error), line.colour = colour;
  for (const Reliability::Bin& bin : r.bins) {
    if (bin.pictures == 0) continue;
    line.x.push_back(bin.confidence);
    line.y.push_back(static_cast<double>(bin.right) / static_cast<double>(bin.pictures));
  }
  return line;
}

Line reliability_counts(const std::string& name, const Reliability& r, int colour) {
  Line bars;
  bars.name = "pictures, " + name, bars.colour = colour, bars.counts = true;
  for (size_t k = 0; k < r.bins.size(); ++k) {
    bars.x.push_back((static_cast<double>(k) + 0.5) / static_cast<double>(r.bins.size()));
    bars.y.push_back(static_cast<double>(r.bins[k].pictures));
  }
  return bars;
}

std::string calibration(const ReportedRun& run) {
  Chart c;
  c.title = "How often it is right, by how sure it is", c.x_label = "confidence", c.y_label = "share right";
  c.y_min = 0, c.y_max = 1, c.diagonal = true;
  const auto add = [&](const std::string& name, double temperature, int colour) {
    const Reliability r = reliability(run.predictions, temperature);
    c.lines.push_back(reliability_line(name, r, colour));
    c.lines.push_back(reliability_counts(name, r, colour));
  };
  add("as it is", 1, 0);
  std::string words =
      "<p>Pictures in 15 bins of confidence; bars say how many stand in each. Below the diagonal it is surer "
      "than it should be.";
  if (run.temperature > 0) {
    add("calibrated", run.temperature, 1);
    words += " Divided by the temperature " + fixed(run.temperature, 3) +
             ", fitted on val and kept in the model's file, the "
             "logits give a loss of " +
             fixed(mean_loss(run.predictions, run.temperature), 4) + " instead of " +
             fixed(mean_loss(run.predictions), 4) + "; <code>predict --calibrated</code> applies it.";
    if (run.split == "val") words += " These are the pictures that it was fitted on.";
  }
  return "<h3>Calibration</h3>\n" + words + "</p>\n<div class=\"charts\">" + chart(c) + "</div>\n";
}

std::string recipes(const std::vector<ReportedRun>& runs) {
  std::set<std::string> fields;
  for (const ReportedRun& run : runs) {
    for (const auto& [field, value] : run.recipe) fields.insert(field);
  }
  std::string set, usual, head = "<tr><th>setting</th>";
  for (const ReportedRun& run : runs) head += "<th>" + escape(run.name) + "</th>";
  auto row = [&](const std::string& name, auto value) {
    std::set<std::string> values;
    std::string cells;
    bool is_usual = true;
    for (const ReportedRun& run : runs) {
      values.insert(value(run));
      cells += "<td>" + escape(value(run)) + "</td>";
      const auto found = run.usual.find(name);
      is_usual = is_usual && found != run.usual.end() && found->second == value(run);
    }
    (is_usual && values.size() == 1 ? usual : set) +=
        std::string(values.size() > 1 ? "<tr class=\"differs\">" : "<tr>") + "<th scope=\"row\">" +
        escape(name) + "</th>" + cells + "</tr>\n";
  };
  auto of = [](const std::map<std::string, std::string>& map, const std::string& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::string() : found->second;
  };
  for (const char* note : {"machine", "epoch", "val_top1"})
    row(note, [&](const ReportedRun& run) { return of(run.info.notes, note); });
  for (const std::string& field : fields)
    row(field, [&](const ReportedRun& run) { return of(run.recipe, field); });
  const auto table = [&](const std::string& name, const std::string& rows) {
    return region(name, "<table>" + head + "</tr>\n" + rows + "</table>");
  };
  return heading("Recipe") + "<p class=\"quiet\">What is not as by default comes first." +
         (runs.size() > 1 ? " Rows in which runs differ are marked." : "") + "</p>\n" + table("Recipe", set) +
         (usual.empty() ? ""
                        : "<details><summary>The settings that are as by default</summary>" +
                              table("Recipe, as by default", usual) + "</details>\n");
}

}  // namespace

std::string report_page(const std::vector<ReportedRun>& runs) {
  std::string body = summary(runs) + curves(runs);
  for (const ReportedRun& run : runs) {
    const std::vector<int64_t> counts = confusion(run.predictions);
    body += heading(runs.size() > 1 ? "Classes, " + run.name : "Classes");
    body += confused(run, counts);
    if (run.predictions.classes <= kMostMatrix) body += matrix(run, counts);
    body += "<h3>Scores by class</h3>\n" + class_table(run, counts);
    body += calibration(run) + pictures(run);
  }
  body += recipes(runs) + charts_script();
  std::string title = "Report: " + runs.front().name;
  if (runs.size() > 1) title += " and " + std::to_string(runs.size() - 1) + " more";
  return page(title, body);
}

}  // namespace fewshift::html
