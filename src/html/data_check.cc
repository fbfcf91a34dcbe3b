// SPDX-License-Identifier: Apache-2.0
#include "html/data_check.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "html/page.h"

namespace fewshift::html {
namespace {

constexpr size_t kMostRows = 200, kMostPictures = 120;  // of each kind
constexpr int kSide = 160;

// What is left of a path below `root`.
std::string below(const std::string& root, const std::string& path) {
  const std::string folder = root.ends_with('/') ? root : root + "/";
  return path.starts_with(folder) ? path.substr(folder.size()) : path;
}

class Body {
 public:
  Body(const std::string& root, const DataCheck& check) : root_(root), check_(check) {}

  std::string text() {
    summary();
    counts();
    broken();
    passed_over();
    duplicates();
    classes();
    odd("Odd sizes", check_.sizes,
        "The median of the shorter sides is " + std::to_string(check_.median_side) + " px.");
    odd("Odd colours", check_.colours, modes());
    return text_;
  }

 private:
  void summary() {
    const size_t found = check_.found();
    text_ +=
        "<p>" + escape(check_.format) + ", " + std::to_string(check_.pictures.size()) + " pictures read. ";
    if (found == 0) {
      text_ += "Nothing was found that asks for a look.</p>\n";
      return;
    }
    text_ += "To look at:</p>\n<ul>\n";
    auto line = [&](size_t count, const char* one, const char* more, const char* anchor) {
      if (count > 0)
        text_ += "<li><a href=\"#" + std::string(anchor) + "\">" + std::to_string(count) + " " +
                 (count == 1 ? one : more) + "</a></li>\n";
    };
    line(check_.broken.size(), "file that cannot be read", "files that cannot be read", "cannot-be-read");
    line(check_.passed_over.size(), "kind of file that no training sees",
         "kinds of files that no training sees", "passed-over");
    line(check_.duplicates.size(), "group of near-duplicates", "groups of near-duplicates",
         "near-duplicates");
    line(check_.classes.size(), "class with few pictures, or none", "classes with few pictures, or none",
         "classes");
    line(check_.sizes.size(), "picture of odd size", "pictures of odd sizes", "odd-sizes");
    line(check_.colours.size(), "picture of odd colours", "pictures of odd colours", "odd-colours");
    text_ += "</ul>\n";
  }

  void heading(const std::string& title) {
    std::string anchor = title;
    std::replace(anchor.begin(), anchor.end(), ' ', '-');
    std::transform(anchor.begin(), anchor.end(), anchor.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    text_ += "<h2 id=\"" + anchor + "\">" + title + "</h2>\n";
  }
  void shortened(size_t shown, size_t all) {
    if (shown < all)
      text_ += "<p class=\"quiet\">The first " + std::to_string(shown) + " of " + std::to_string(all) +
               "; all are in the JSON.</p>\n";
  }

  void counts() {
    text_ +=
        "<h2 id=\"pictures\">Pictures by class</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"Pictures by class\"><table><tr><th>class</th>";
    std::set<std::string> names;
    for (const auto& [part, counts] : check_.counts) {
      text_ += "<th class=\"n\">" + part + "</th>";
      for (const auto& [name, count] : counts) names.insert(name);
    }
    text_ += "</tr>\n";
    for (const std::string& name : names) {
      text_ += "<tr><td>" + escape(name) + "</td>";
      for (const auto& [part, counts] : check_.counts) {
        const auto found = counts.find(name);
        text_ += "<td class=\"n\">" + (found == counts.end() ? "" : std::to_string(found->second)) + "</td>";
      }
      text_ += "</tr>\n";
    }
    text_ += "</table></div>\n";
  }

  void broken() {
    if (check_.broken.empty()) return;
    heading("Cannot be read");
    text_ += "<p>A training leaves these out, and says so.</p>\n<table><tr><th>file</th><th>why</th></tr>\n";
    const size_t shown = std::min(check_.broken.size(), kMostRows);
    for (size_t k = 0; k < shown; ++k)
      text_ += "<tr><td><code>" + escape(below(root_, check_.broken[k].file)) + "</code></td><td>" +
               escape(check_.broken[k].reason) + "</td></tr>\n";
    text_ += "</table>\n";
    shortened(shown, check_.broken.size());
  }

  void passed_over() {
    if (check_.passed_over.empty()) return;
    heading("Passed over");
    text_ +=
        "<p>Files that no training ever sees: pictures are .jpg, .jpeg, .png and .webp in train/, val/ or "
        "test/, in "
        "the "
        "folder of their class.</p>\n<table><tr><th>files</th><th class=\"n\">files</th><th>for "
        "example</th></tr>\n";
    for (const auto& p : check_.passed_over)
      text_ += "<tr><td>" + escape(p.what) + "</td><td class=\"n\">" + std::to_string(p.files) +
               "</td><td><code>" + escape(below(root_, p.first)) + "</code></td></tr>\n";
    text_ += "</table>\n";
  }

  void figure(size_t k, const std::string& more) {
    const CheckedPicture& p = check_.pictures[k];
    text_ += "<figure>";
    try {
      text_ += picture(*check_.open(k), kSide, p.folder);
    } catch (const Error&) {  // gone since
    }
    text_ += "<figcaption><b>" + escape(p.folder) + "</b>, " + p.part + ", " + std::to_string(p.width) +
             " &times; " + std::to_string(p.height) + " px" + (more.empty() ? "" : "<br>" + escape(more)) +
             "<br><code>" + escape(below(root_, p.name)) + "</code></figcaption></figure>\n";
  }

  void duplicates() {
    if (check_.duplicates.empty()) return;
    heading("Near-duplicates");
    text_ +=
        "<p>The same picture, or nearly. Across <b>parts</b>, what is measured on one was learned on the "
        "other; "
        "across <b>classes</b>, one label is wrong, or both are right.</p>\n";
    size_t groups = 0, pictures = 0;
    for (; groups < check_.duplicates.size() && pictures < kMostPictures; ++groups) {
      const auto& group = check_.duplicates[groups];
      const bool parts = check_.across_parts(group), classes = check_.across_classes(group);
      text_ += "<section><p>" + std::to_string(group.size()) + " pictures";
      if (parts) text_ += ", <span class=\"bad\">across parts</span>";
      if (classes) text_ += ", <span class=\"bad\">across classes</span>";
      text_ += "</p>\n<div class=\"row\">\n";
      constexpr size_t kMostOfGroup = 8;
      for (size_t k = 0; k < std::min(group.size(), kMostOfGroup); ++k) figure(group[k], "");
      pictures += std::min(group.size(), kMostOfGroup);
      text_ += "</div></section>\n";
    }
    shortened(groups, check_.duplicates.size());
  }

  void classes() {
    if (check_.classes.empty()) return;
    heading("Classes");
    text_ += "<table><tr><th>class</th><th>part</th><th class=\"n\">pictures</th><th></th></tr>\n";
    for (const auto& c : check_.classes)
      text_ += "<tr><td>" + escape(c.folder) + "</td><td>" + c.part + "</td><td class=\"n\">" +
               std::to_string(c.pictures) + "</td><td>" + escape(c.reason) + "</td></tr>\n";
    text_ += "</table>\n";
  }

  void odd(const std::string& title, const std::vector<DataCheck::Odd>& odd, const std::string& words) {
    if (odd.empty()) return;
    heading(title);
    text_ += "<p>" + escape(words) + "</p>\n<div class=\"row\">\n";
    const size_t shown = std::min(odd.size(), kMostPictures);
    for (size_t k = 0; k < shown; ++k) figure(odd[k].picture, odd[k].reason);
    text_ += "</div>\n";
    shortened(shown, odd.size());
  }

  std::string modes() const {
    std::string text;
    for (const auto& [mode, pictures] : check_.modes)
      text += (text.empty() ? "" : ", ") + mode + " " + std::to_string(pictures);
    return "Colour modes in this set: " + text + ".";
  }

  const std::string& root_;
  const DataCheck& check_;
  std::string text_;
};

}  // namespace

std::string data_check_page(const std::string& root, const DataCheck& check) {
  return page("Data check: " + root, Body(root, check).text());
}

}  // namespace fewshift::html
