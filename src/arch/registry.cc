// SPDX-License-Identifier: Apache-2.0
#include "arch/registry.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "arch/families.h"
#include "arch/spatial.h"
#include "core/error.h"

namespace fewshift {
namespace {

struct Row {
  RegistryEntry entry;
  std::function<Arch(int classes)> make;
};

using Rows = std::vector<Row>;

void put(Rows& rows, const RegistryEntry& entry, std::function<Arch(int classes)> make) {
  rows.push_back({entry, std::move(make)});
}

void add_fenets(Rows& rows) {
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
    put(rows, {name, options.small_input ? 10 : 1000, params, madds},
        [=](int classes) { return fenet(name, options, classes); });
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

void add_shiftresnets(Rows& rows) {
  struct Published {
    int depth, expansion;
    double params, madds;
  };
  const Published published[] = {{20, 3, 0.10e6, 16.6e6}, {20, 6, 0.19e6, 0}, {20, 9, 0.28e6, 0}};
  for (int depth : {20, 56, 110}) {
    for (int expansion : {1, 3, 6, 9}) {
      const std::string name = "shiftresnet" + std::to_string(depth) + "_e" + std::to_string(expansion);
      RegistryEntry entry{name, 10};
      for (const Published& p : published) {
        if (p.depth == depth && p.expansion == expansion) entry = {name, 10, p.params, p.madds};
      }
      put(rows, entry, [=](int classes) { return shiftresnet(name, depth, expansion, classes); });
    }
  }
}

void add_resnets(Rows& rows) {
  const struct {
    int depth;
    double params, madds;
  } published[] = {{20, 0.27e6, 41e6}, {56, 0.85e6, 126e6}, {110, 1.7e6, 253e6}};
  for (const auto& p : published) {
    const std::string name = "resnet" + std::to_string(p.depth);
    const int depth = p.depth;
    put(rows, {name, 10, p.params, p.madds}, [=](int classes) { return resnet(name, depth, classes); });
  }
}

// The networks that people would use instead; "_cifar": for 32 px.
void add_peers(Rows& rows) {
  auto add = [&](const RegistryEntry& entry, auto make) {
    const std::string large = entry.name, small = large + "_cifar";
    put(rows, entry, [=](int classes) { return make(large, false, classes); });
    put(rows, {small, 10}, [=](int classes) { return make(small, true, classes); });
  };
  const struct {
    const char* name;
    double width, params, madds;
  } mobilenets[] = {{"0.5", 0.5, 1.97e6, 97e6},
                    {"0.75", 0.75, 2.64e6, 209e6},
                    {"1.0", 1.0, 3.50e6, 301e6},
                    {"1.4", 1.4, 6.11e6, 582e6}};
  for (const auto& m : mobilenets) {
    const double width = m.width;
    add({std::string("mobilenet_v2_") + m.name, 1000, m.params, m.madds},
        [=](const std::string& name, bool small, int classes) {
          return mobilenet_v2(name, width, small, classes);
        });
  }
  add({"mobilenetv4_conv_small", 1000, 3.77e6, 190e6}, mobilenetv4_conv_small);
  const struct {
    const char* name;
    std::vector<int> channels;
    double params, madds;
  } shufflenets[] =  // M-Adds as torchvision gives them; the paper says 41M, 146M, 299M, 591M
      {{"0.5", {48, 96, 192, 1024}, 1.37e6, 40e6},
       {"1.0", {116, 232, 464, 1024}, 2.28e6, 146e6},
       {"1.5", {176, 352, 704, 1024}, 3.50e6, 296e6},
       {"2.0", {244, 488, 976, 2048}, 7.39e6, 583e6}};
  for (const auto& s : shufflenets) {
    const std::vector<int> channels = s.channels;
    add({std::string("shufflenet_v2_") + s.name, 1000, s.params, s.madds},
        [=](const std::string& name, bool small, int classes) {
          return shufflenet_v2(name, channels, small, classes);
        });
  }
  put(rows, {"fasternet_t0", 1000, 3.9e6, 340e6},
      [](int classes) { return fasternet_t0("fasternet_t0", classes); });
}

Rows& rows() {
  static std::vector<Row> all = [] {
    std::vector<Row> rows;
    add_fenets(rows);
    add_shiftresnets(rows);
    add_resnets(rows);
    add_peers(rows);
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

std::vector<RegistryEntry> registry() {
  std::vector<RegistryEntry> entries;
  for (const Row& row : rows()) entries.push_back(row.entry);
  return entries;
}

void add_model(const RegistryEntry& entry, std::function<Arch(int classes)> make) {
  for (const Row& row : rows()) {
    if (row.entry.name == entry.name) {
      throw Error(ErrorCode::kInvalidArgument, "model " + entry.name, "is there already");
    }
  }
  put(rows(), entry, std::move(make));
}

Arch make_arch(const std::string& name, int classes, const std::string& shift) {
  const Row* closest = nullptr;
  for (const Row& row : rows()) {
    if (row.entry.name == name) {
      Arch arch = row.make(classes > 0 ? classes : row.entry.classes);
      arch.shift = spatial_operator(shift).name;
      return arch;
    }
    if (!closest || edit_distance(name, row.entry.name) < edit_distance(name, closest->entry.name))
      closest = &row;
  }
  throw Error(ErrorCode::kNotFound, "model " + name,
              "there is none of that name; did you mean " + closest->entry.name +
                  "? `fewshift models` lists them all");
}

}  // namespace fewshift
