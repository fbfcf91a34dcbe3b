// SPDX-License-Identifier: Apache-2.0
#include "arch/registry.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "arch/families.h"
#include "core/error.h"

namespace fewshift {
namespace {

struct Row {
  RegistryEntry entry;
  std::function<Arch(int classes)> make;
};

void add_fenets(std::vector<Row>& rows) {
  struct Width {
    const char* name;
    double width;
    int head;
    double params, madds, squeeze_madds;  // published, at 224 px and 1,000 classes
  };
  // Heads of 0.5 and 0.75 are ours; those of 1.0 and 1.375 give the published costs.
  const Width widths[] = {{"0.5", 0.5, 1024, 0, 0, 0},
                          {"0.75", 0.75, 1280, 0, 0, 0},
                          {"1.0", 1.0, 1536, 3.72e6, 301.8e6, 0},
                          {"1.375", 1.375, 1932, 5.99e6, 563.7e6, 566.0e6}};
  auto add = [&](const std::string& name, const FeNetOptions& options, double params, double madds) {
    rows.push_back({{name, options.small_input ? 10 : 1000, params, madds},
                    [=](int classes) { return fenet(name, options, classes); }});
  };
  for (const Width& w : widths) add(std::string("fenet_") + w.name, {w.width, w.head}, w.params, w.madds);
  for (const Width& w : widths) {
    add(std::string("fenet_se_") + w.name, {w.width, w.head, true}, 0, w.squeeze_madds);
  }
  add("fenet_1.0_released", {1.0, 1932, false, false, true}, 0, 418e6);
  add("fenet_1.375_released", {1.375, 1932, false, false, true}, 0, 773e6);
  for (const Width& w : widths)
    add(std::string("fenet_cifar_") + w.name, {w.width, w.head, false, true}, 0, 0);
  for (const Width& w : widths)
    add(std::string("fenet_cifar_se_") + w.name, {w.width, w.head, true, true}, 0, 0);
}

void add_shiftresnets(std::vector<Row>& rows) {
  struct Published {
    int depth, expansion;
    double params, madds;
  };
  const Published published[] = {{20, 3, 0.10e6, 16.6e6}, {20, 6, 0.19e6, 0}, {20, 9, 0.28e6, 0}};
  for (int depth : {20, 56, 110}) {
    for (int expansion : {1, 3, 6, 9}) {
      const std::string name = "shiftresnet" + std::to_string(depth) + "_e" + std::to_string(expansion);
      RegistryEntry entry{name, 10, 0, 0};
      for (const Published& p : published) {
        if (p.depth == depth && p.expansion == expansion) entry = {name, 10, p.params, p.madds};
      }
      rows.push_back({entry, [=](int classes) { return shiftresnet(name, depth, expansion, classes); }});
    }
  }
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> rows;
    add_fenets(rows);
    add_shiftresnets(rows);
    return rows;
  }();
  return all;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

const std::vector<RegistryEntry>& registry() {
  static const std::vector<RegistryEntry> entries = [] {
    std::vector<RegistryEntry> entries;
    for (const Row& row : rows()) entries.push_back(row.entry);
    return entries;
  }();
  return entries;
}

Arch make_arch(const std::string& name, int classes) {
  const Row* closest = nullptr;
  for (const Row& row : rows()) {
    if (row.entry.name == name) return row.make(classes > 0 ? classes : row.entry.classes);
    if (!closest || edit_distance(name, row.entry.name) < edit_distance(name, closest->entry.name))
      closest = &row;
  }
  throw Error(ErrorCode::kNotFound, "model " + name,
              "there is none of that name; did you mean " + closest->entry.name +
                  "? `fewshift models` lists them all");
}

}  // namespace fewshift
