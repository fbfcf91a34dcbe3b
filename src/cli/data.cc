// fewshift data check and data pack
// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "core/cores.h"
#include "core/file.h"
#include "core/json_text.h"
#include "data/check.h"
#include "data/pack.h"
#include "html/data_check.h"

namespace fewshift::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string data, html, out;
  CheckOptions check;
  PackOptions pack;
  uint64_t shard_mb = 256;
  bool as_json = false;
};

// "12 of 345" on a terminal.
void show_progress(size_t done, size_t all) {
  static const bool shows = isatty(fileno(stderr)) != 0;
  if (shows && (done % 256 == 0 || done == all))
    std::fprintf(stderr, "\r%zu of %zu%s", done, all, done == all ? "\n" : "");
}

json describe(const std::string& root, const DataCheck& check) {
  auto picture = [&](size_t k) {
    const CheckedPicture& p = check.pictures[k];
    return json{{"file", p.name},   {"part", p.part},     {"class", p.folder},
                {"width", p.width}, {"height", p.height}, {"mode", p.mode}};
  };
  json broken = json::array(), passed_over = json::array(), duplicates = json::array(),
       classes = json::array();
  for (const auto& b : check.broken) broken.push_back({{"file", b.file}, {"reason", b.reason}});
  for (const auto& p : check.passed_over)
    passed_over.push_back({{"what", p.what}, {"files", p.files}, {"first", p.first}});
  for (const auto& group : check.duplicates) {
    json files = json::array();
    for (size_t k : group) files.push_back(picture(k));
    duplicates.push_back({{"across_parts", check.across_parts(group)},
                          {"across_classes", check.across_classes(group)},
                          {"pictures", files}});
  }
  for (const auto& c : check.classes)
    classes.push_back(
        {{"class", c.folder}, {"part", c.part}, {"pictures", c.pictures}, {"reason", c.reason}});
  auto odd = [&](const std::vector<DataCheck::Odd>& all) {
    json rows = json::array();
    for (const auto& o : all) {
      rows.push_back(picture(o.picture));
      rows.back()["reason"] = o.reason;
    }
    return rows;
  };
  return {{"data", root},           {"format", check.format},     {"pictures", check.pictures.size()},
          {"counts", check.counts}, {"modes", check.modes},       {"median_side", check.median_side},
          {"broken", broken},       {"passed_over", passed_over}, {"duplicates", duplicates},
          {"classes", classes},     {"sizes", odd(check.sizes)},  {"colours", odd(check.colours)},
          {"found", check.found()}};
}

constexpr size_t kMost = 20;  // lines of a kind on a terminal

template <class List, class Line>
void print(const char* title, const List& list, Line line) {
  if (list.empty()) return;
  std::printf("\n%s: %zu\n", title, list.size());
  for (size_t k = 0; k < std::min(list.size(), kMost); ++k) line(list[k]);
  if (list.size() > kMost) std::printf("  and %zu more: --json or --html have all\n", list.size() - kMost);
}

void print(const std::string& root, const DataCheck& check) {
  std::printf("%s: %s, %zu pictures read\n", root.c_str(), check.format.c_str(), check.pictures.size());
  for (const auto& [part, classes] : check.counts) {
    int64_t all = 0, least = INT64_MAX, most = 0;
    for (const auto& [name, count] : classes)
      all += count, least = std::min(least, count), most = std::max(most, count);
    if (classes.empty()) continue;
    std::printf("  %-5s %7ld pictures, %zu classes of %ld to %ld\n", part.c_str(), all, classes.size(), least,
                most);
  }
  print("cannot be read", check.broken,
        [](const auto& b) { std::printf("  %s: %s\n", b.file.c_str(), b.reason.c_str()); });
  print("files that no training sees", check.passed_over, [](const auto& p) {
    std::printf("  %ld %s, such as %s\n", p.files, p.what.c_str(), p.first.c_str());
  });
  print("groups of near-duplicates", check.duplicates, [&](const auto& group) {
    std::printf("  a group%s%s\n", check.across_parts(group) ? " across parts" : "",
                check.across_classes(group) ? " across classes" : "");
    for (size_t k = 0; k < std::min<size_t>(group.size(), 4); ++k)
      std::printf("    %s\n", check.pictures[group[k]].name.c_str());
    if (group.size() > 4) std::printf("    and %zu more\n", group.size() - 4);
  });
  print("classes", check.classes, [](const auto& c) {
    std::printf("  %s/%s: %ld pictures, %s\n", c.part.c_str(), c.folder.c_str(), c.pictures,
                c.reason.c_str());
  });
  auto odd = [&](const DataCheck::Odd& o) {
    const CheckedPicture& p = check.pictures[o.picture];
    std::printf("  %s (%d x %d): %s\n", p.name.c_str(), p.width, p.height, o.reason.c_str());
  };
  print("odd sizes", check.sizes, odd);
  print("odd colours", check.colours, odd);
  if (check.found() == 0) std::printf("nothing found\n");
}

int run_check(const Options& o) {
  const DataCheck check = check_data(o.data, o.check, show_progress);
  if (o.as_json) {
    std::cout << json_text(describe(o.data, check)) << '\n';
  } else {
    print(o.data, check);
  }
  if (!o.html.empty()) {
    write_file_atomic(o.html, html::data_check_page(o.data, check));
    std::fprintf(stderr, "the page with the pictures: %s\n", o.html.c_str());
  }
  return check.found() > 0 ? kDiffers : kDone;
}

int run_pack(Options o) {
  o.pack.shard_bytes = o.shard_mb << 20;
  const Packed packed = pack_data(o.data, o.out, o.pack, show_progress);
  if (o.as_json) {
    const json result = {{"pictures", packed.pictures}, {"shards", packed.shards}, {"bytes", packed.bytes}};
    std::cout << json_text(result) << '\n';
  } else {
    std::printf("%ld pictures in %ld shards, %.1f MB: %s\n", packed.pictures, packed.shards,
                static_cast<double>(packed.bytes) / 1e6, o.out.c_str());
  }
  return kDone;
}

}  // namespace

Action data_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  CLI::App* check = command.add_subcommand("check", "Look for pictures that would spoil a training");
  check->add_option("DIR", o->data, "Pictures, as train's --data")->required();
  check->add_option("--few", o->check.few, "Report classes of train/ with fewer pictures (20)")
      ->check(CLI::Range(1, 1000000));
  o->check.threads = cores();
  check->add_option("--threads", o->check.threads, "Threads (all cores)")->check(CLI::Range(1, 1024));
  check->add_flag("--json", o->as_json, "One JSON object on standard output, with everything found");
  check->add_option("--html", o->html, "Write a page with the pictures to this file");
  check->footer(
      "Files that cannot be read or are passed over, near-duplicates within and across train/, val/ and "
      "test/, classes\n"
      "with few pictures or none, odd sizes and colours. Exit code 3 where there is any.");
  CLI::App* pack = command.add_subcommand("pack", "Write an image folder as tar shards, as WebDataset's");
  pack->add_option("DIR", o->data, "Pictures: an image folder")->required();
  pack->add_option("--out", o->out, "Folder for PART-000000.tar and so on, and class_names.txt")->required();
  pack->add_option("--shard-mb", o->shard_mb, "A shard's size in MiB, about (256)")
      ->check(CLI::Range(1, 65536));
  pack->add_option("--seed", o->pack.seed, "Of the order of the pictures (0)");
  pack->add_flag("--json", o->as_json, "One JSON object on standard output");
  pack->footer("Files go in as they are. train --data OUT reads the shards in order, shuffled in a window.");
  command.require_subcommand(1);
  return [o, pack] { return pack->parsed() ? run_pack(*o) : run_check(*o); };
}

}  // namespace fewshift::cli
