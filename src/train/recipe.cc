// SPDX-License-Identifier: Apache-2.0
#include "train/recipe.h"

#include <toml++/toml.h>

#include <charconv>
#include <cmath>
#include <sstream>

#include "arch/spatial.h"
#include "core/cores.h"
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
      visit_fields(recipe,
                   [&, &node = node](const char* s, const char* k, auto& field, const char*, const char*) {
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

// From the text of an option.
bool parse_value(const std::string& text, std::string& field) {
  if (text.find('\n') != std::string::npos) return false;
  field = text;
  return true;
}
bool parse_value(const std::string& text, bool& field) {
  field = text == "true";
  return field || text == "false";
}
template <class Number>
bool parse_value(const std::string& text, Number& field) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, field);
  return error == std::errc{} && stop == end;
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
  parse_recipe(read_file(path), path.string(), recipe);
}

void parse_recipe(const std::string& text, const std::string& where, Recipe& recipe) {
  apply(parse(text, where), where, recipe);
}

void set_field(Recipe& recipe, const std::string& name, const std::string& value, const std::string& where) {
  bool known = false;
  visit_fields(recipe, [&](const char* section, const char* key, auto& field, const char*, const char*) {
    if (name != std::string(section) + "." + key) return;
    known = true;
    if (!parse_value(value, field)) {
      throw Error(ErrorCode::kInvalidArgument, where, "must be " + std::string(type_name(field)));
    }
  });
  if (!known) throw Error(ErrorCode::kInvalidArgument, where, "there is no such field in a recipe");
}

std::map<std::string, std::string> field_values(const Recipe& recipe) {
  std::map<std::string, std::string> values;
  visit_fields(recipe,
               [&](const char* section, const char* key, const auto& field, const char*, const char*) {
                 std::string& value = values[std::string(section) + "." + key];
                 if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::string>) {
                   value = field;
                 } else {
                   value = literal(field);
                 }
               });
  return values;
}

std::string format_recipe(const Recipe& recipe) {
  std::ostringstream out;
  std::string current;
  visit_fields(recipe,
               [&](const char* section, const char* key, const auto& field, const char* help, const char*) {
                 if (current != section) {
                   out << (current.empty() ? "" : "\n") << "[" << section << "]\n";
                   current = section;
                 }
                 out << key << " = " << literal(field) << "  # " << help << "\n";
               });
  return out.str();
}

void check_recipe(const Recipe& r) {
  auto require = [&](bool holds, const std::string& name, const std::string& what) {
    if (holds) return;
    std::string where = name;
    visit_fields(r, [&](const char* section, const char* key, const auto&, const char*, const char* option) {
      if (name == std::string(section) + "." + key && *option) where = option;
    });
    throw Error(ErrorCode::kInvalidArgument, where, what);
  };
  auto whole = [&](int64_t value, int64_t low, int64_t high, const char* name) {
    require(value >= low && value <= high, name,
            "must lie between " + std::to_string(low) + " and " + std::to_string(high));
  };
  auto share = [&](double value, const char* name) {
    require(value >= 0 && value <= 1, name, "must lie between 0 and 1");
  };
  auto below_one = [&](double value, const char* name) {
    require(value >= 0 && value < 1, name, "must lie from 0 to below 1");
  };
  auto not_negative = [&](double value, const char* name) {
    require(value >= 0, name, "must not be negative");
  };
  auto one_of = [&](const std::string& value, std::initializer_list<const char*> names, const char* name) {
    std::string list;
    bool found = false;
    for (const char* choice : names) {
      found |= value == choice;
      list += (list.empty() ? "" : choice == *std::prev(names.end()) ? " or " : ", ") + std::string(choice);
    }
    require(found, name, "must be " + list);
  };
  visit_fields(r, [&](const char* section, const char* key, const auto& field, const char*, const char*) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, double>) {
      require(std::isfinite(field) && std::abs(field) <= 1e30, std::string(section) + "." + key,
              "must be a number of at most 1e30");
    }
  });
  require(!r.model.empty(), "run.model", "is missing: `fewshift models` lists the networks");
  require(!r.data.empty(), "run.data", "is missing: the folder with train/CLASS/*.jpg");
  require(r.size == 0 || (r.size >= 8 && r.size <= 1024), "run.size", "must lie between 8 and 1024 px");
  whole(r.threads, 0, 1024, "run.threads");
  whole(r.epochs, 1, 100000, "train.epochs");
  whole(r.batch, 2, 65536, "train.batch");
  one_of(r.optimiser, {"sgd", "adamw"}, "train.optimiser");
  not_negative(r.learning_rate, "train.learning_rate");
  require(r.final_learning_rate >= 0 && r.final_learning_rate <= resolved(r).learning_rate,
          "train.final_learning_rate", "must lie between 0 and learning_rate");
  not_negative(r.warmup_epochs, "train.warmup_epochs");
  require(r.momentum > 0 && r.momentum < 1, "train.momentum", "must lie between 0 and 1");
  not_negative(r.clip, "train.clip");
  below_one(r.label_smoothing, "train.label_smoothing");
  not_negative(r.mixup, "train.mixup");
  not_negative(r.cutmix, "train.cutmix");
  one_of(r.class_weights, {"none", "balanced"}, "train.class_weights");
  below_one(r.ema, "train.ema");
  whole(r.patience, 0, 100000, "train.patience");
  one_of(r.precision, {"float32", "bf16"}, "train.precision");
  one_of(r.fused, {"on", "off"}, "train.fused");
  one_of(r.hidden, {"auto", "recompute", "float32", "bf16"}, "train.hidden");
  whole(r.freeze_body, 0, r.epochs, "train.freeze_body");
  require(r.freeze_body == 0 || !r.init.empty(), "train.freeze_body",
          "goes with --init: a body at random is nothing to keep");
  const Displacements displacements = spatial_operator(r.shift).displacements;
  const bool learned = displacements == Displacements::kLearned,
             kept = !r.init.empty() && r.shift_init == "keep";
  require(r.freeze_body < r.epochs || kept || !learned, "train.freeze_body",
          "leaves no epoch for the shifts to learn in; --set shift.init=keep takes them as they are");
  require(r.shift_from.empty() || r.shift == "random", "shift.from", "goes with --shift random");
  const std::string kept_text =
      "cannot act: --init's shifts stay as they are, unless --set shift.init=learn or new";
  require(r.penalty == 0 || learned, "shift.penalty", "goes with shifts that learn: --shift ssl or asl");
  require(r.penalty == 0 || !kept, "shift.penalty", kept_text);
  const bool asked = r.sparsity != Recipe{}.sparsity && r.sparsity >= 0;
  require(!asked || r.shift == "ssl" || displacements == Displacements::kRandom, "shift.sparsity",
          "goes with --shift ssl or random");
  require(!asked || r.shift_from.empty(), "shift.sparsity",
          "has no place beside --shift-from, which decides it");
  require(!asked || !kept, "shift.sparsity", kept_text);
  whole(r.norm_pictures, 0, 1 << 20, "train.norm_pictures");
  one_of(r.sync_norm, {"step", "epoch"}, "train.sync_norm");
  one_of(r.start, {"symmetric", "grid", "zero"}, "shift.start");
  require(r.reach >= 0 && r.reach <= 1024, "shift.reach", "must lie between 0 and 1024 px");
  one_of(r.shift_init, {"keep", "learn", "new"}, "shift.init");
  one_of(r.shift_optimiser, {"adam", "sgd"}, "shift.optimiser");
  not_negative(r.rate, "shift.rate");
  not_negative(r.shift_weight_decay, "shift.weight_decay");
  not_negative(r.penalty, "shift.penalty");
  share(r.penalty_delay, "shift.penalty_delay");
  share(r.penalty_ramp, "shift.penalty_ramp");
  require(r.sparsity <= 1, "shift.sparsity", "must lie between 0 and 1 (below 0: no target)");
  share(r.prune_from, "shift.prune_from");
  share(r.prune_until, "shift.prune_until");
  require(r.prune_from <= r.prune_until, "shift.prune_until", "must not be below prune_from");
  share(r.freeze_from, "shift.freeze_from");
  below_one(r.val_share, "data.val_share");
  one_of(r.interpolation, {"bilinear", "bicubic"}, "data.interpolation");
  one_of(r.crop, {"auto", "pad", "random_resized", "none"}, "data.crop");
  whole(r.pad, 0, 1024, "data.pad");
  require(r.scale_min > 0 && r.scale_min <= 1, "data.scale_min", "must lie above 0, at most 1");
  below_one(r.colour_jitter, "data.colour_jitter");
  whole(r.rand_augment, 0, 16, "data.rand_augment");
  require(r.magnitude >= 0 && r.magnitude <= 10, "data.magnitude", "must lie between 0 and 10");
  share(r.erasing, "data.erasing");
  whole(r.workers, 0, 256, "data.workers");
  whole(r.cache_mb, 0, int64_t{1} << 24, "data.cache_mb");
}

Recipe resolved(Recipe r) {
  const bool adamw = r.optimiser == "adamw";
  if (r.learning_rate == 0) r.learning_rate = adamw ? 1e-3 : 0.05;
  if (r.weight_decay < 0) r.weight_decay = adamw ? 0.05 : 5e-4;
  if (r.threads == 0) r.threads = cores();
  return r;
}

}  // namespace fewshift
