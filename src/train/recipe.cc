// SPDX-License-Identifier: Apache-2.0
#include "train/recipe.h"

#include <toml++/toml.h>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {
namespace {

bool take(const toml::node& node, std::string& field) {
  if (!node.is_string()) return false;
  field = *node.value<std::string>();
  return true;
}
bool take(const toml::node& node, bool& field) {
  if (!node.is_boolean()) return false;
  field = *node.value<bool>();
  return true;
}
bool take(const toml::node& node, int64_t& field) {
  if (!node.is_integer()) return false;
  field = *node.value<int64_t>();
  return true;
}
bool take(const toml::node& node, double& field) {
  if (!node.is_number()) return false;
  field = *node.value<double>();
  return true;
}

const char* type_name(const std::string&) {
  return "a string";
}
const char* type_name(bool) {
  return "true or false";
}
const char* type_name(int64_t) {
  return "a whole number";
}
const char* type_name(double) {
  return "a number";
}

void apply(const toml::table& table, const std::string& where, Recipe& recipe) {
  for (const auto& [section_key, section_node] : table) {
    const std::string section(section_key.str());
    const toml::table* entries = section_node.as_table();
    if (!entries) throw Error(ErrorCode::kInvalidArgument, where, "unknown key " + section);
    for (const auto& [entry_key, node] : *entries) {
      const std::string key(entry_key.str());
      bool known = false;
      visit_fields(recipe, [&](const char* s, const char* k, auto& field, const char*) {
        if (section != s || key != k) return;
        known = true;
        if (!take(node, field)) {
          throw Error(ErrorCode::kInvalidArgument, where,
                      section + "." + key + " must be " + type_name(field));
        }
      });
      if (!known) throw Error(ErrorCode::kInvalidArgument, where, "unknown key " + section + "." + key);
    }
  }
}

toml::table parse(const std::string& text, const std::string& where) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    std::ostringstream what;
    what << "line " << error.source().begin.line << ": " << error.description();
    throw Error(ErrorCode::kCorrupt, where, what.str());
  }
}

std::string quoted(const std::string& text) {
  std::ostringstream out;
  out << toml::value<std::string>(text);
  return out.str();
}

std::string literal(const std::string& value) {
  return quoted(value);
}
std::string literal(bool value) {
  return value ? "true" : "false";
}
std::string literal(int64_t value) {
  return std::to_string(value);
}
std::string literal(double value) {  // the shortest text that reads back as the same number
  char text[32];
  char* end = std::to_chars(text, text + sizeof text, value).ptr;
  const std::string digits(text, end);
  return digits.find_first_of(".e") == std::string::npos ? digits + ".0" : digits;
}

}  // namespace

void read_recipe(const std::filesystem::path& path, Recipe& recipe) {
  apply(parse(read_file(path), path.string()), path.string(), recipe);
}

void set_field(Recipe& recipe, const std::string& name, const std::string& value) {
  if (value.find('\n') != std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument, "--set " + name, "the value must be one line");
  }
  bool known = false;
  visit_fields(recipe, [&](const char* section, const char* key, auto& field, const char*) {
    if (name != std::string(section) + "." + key) return;
    known = true;
    const bool text = std::is_same_v<std::decay_t<decltype(field)>, std::string>;
    apply(parse("[" + std::string(section) + "]\n" + key + " = " + (text ? quoted(value) : value),
                "--set " + name),
          "--set", recipe);
  });
  if (!known) throw Error(ErrorCode::kInvalidArgument, "--set " + name, "there is no such field in a recipe");
}

std::string format_recipe(const Recipe& recipe) {
  std::ostringstream out;
  std::string current;
  visit_fields(recipe, [&](const char* section, const char* key, const auto& field, const char* help) {
    if (current != section) {
      out << (current.empty() ? "" : "\n") << "[" << section << "]\n";
      current = section;
    }
    out << key << " = " << literal(field) << "  # " << help << "\n";
  });
  return out.str();
}

void check_recipe(const Recipe& r) {
  auto require = [](bool holds, const char* field, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, field, what);
  };
  auto share = [&](double value, const char* field) {
    require(value >= 0 && value <= 1, field, "must lie between 0 and 1");
  };
  require(!r.model.empty(), "--model", "is missing: `fewshift models` lists the networks");
  require(!r.data.empty(), "--data", "is missing: the folder with train/CLASS/*.jpg");
  require(r.size == 0 || (r.size >= 8 && r.size <= 1024), "run.size", "must lie between 8 and 1024 px");
  require(r.threads >= 0 && r.threads <= 1024, "run.threads", "must lie between 0 and 1024");
  require(r.epochs >= 1 && r.epochs <= 100000, "train.epochs", "must lie between 1 and 100000");
  require(r.batch >= 2 && r.batch <= 65536, "train.batch", "must lie between 2 and 65536");
  require(r.learning_rate > 0 && std::isfinite(r.learning_rate), "train.learning_rate", "must be above 0");
  require(r.final_learning_rate >= 0 && r.final_learning_rate <= r.learning_rate, "train.final_learning_rate",
          "must lie between 0 and learning_rate");
  require(r.warmup_epochs >= 0 && std::isfinite(r.warmup_epochs), "train.warmup_epochs",
          "must not be negative");
  require(r.momentum > 0 && r.momentum < 1, "train.momentum", "must lie between 0 and 1");
  require(r.weight_decay >= 0 && std::isfinite(r.weight_decay), "train.weight_decay", "must not be negative");
  require(r.label_smoothing >= 0 && r.label_smoothing < 1, "train.label_smoothing",
          "must lie from 0 to below 1");
  require(r.shift == "ssl" || r.shift == "random", "--shift", "must be ssl or random");
  require(r.shift_from.empty() || r.shift == "random", "--shift-from", "goes with --shift random");
  require(r.start == "symmetric" || r.start == "grid" || r.start == "zero", "shift.start",
          "must be symmetric, grid or zero");
  require(r.reach >= 0 && r.reach <= 1024, "shift.reach", "must lie between 0 and 1024 px");
  require(r.optimiser == "adam" || r.optimiser == "sgd", "shift.optimiser", "must be adam or sgd");
  require(r.rate >= 0 && std::isfinite(r.rate), "shift.rate", "must not be negative");
  require(r.penalty >= 0 && std::isfinite(r.penalty), "--shift-penalty", "must not be negative");
  share(r.penalty_delay, "shift.penalty_delay");
  share(r.penalty_ramp, "shift.penalty_ramp");
  require(r.sparsity <= 1, "--shift-sparsity", "must lie between 0 and 1 (below 0: no target)");
  share(r.prune_from, "shift.prune_from");
  share(r.prune_until, "shift.prune_until");
  require(r.prune_from <= r.prune_until, "shift.prune_until", "must not be below prune_from");
  share(r.freeze_from, "shift.freeze_from");
  require(r.val_share >= 0 && r.val_share < 1, "data.val_share", "must lie from 0 to below 1");
  require(r.crop == "auto" || r.crop == "pad" || r.crop == "random_resized" || r.crop == "none", "data.crop",
          "must be auto, pad, random_resized or none");
  require(r.pad >= 0 && r.pad <= 1024, "data.pad", "must lie between 0 and 1024 px");
  require(r.scale_min > 0 && r.scale_min <= 1, "data.scale_min", "must lie above 0, at most 1");
  require(r.colour_jitter >= 0 && r.colour_jitter < 1, "data.colour_jitter", "must lie from 0 to below 1");
  require(r.workers >= 0 && r.workers <= 256, "data.workers", "must lie between 0 and 256");
  require(r.cache_mb >= 0 && r.cache_mb <= (int64_t{1} << 24), "data.cache_mb",
          "must lie between 0 and 16777216");
}

}  // namespace fewshift
