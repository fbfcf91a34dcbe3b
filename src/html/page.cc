// SPDX-License-Identifier: Apache-2.0
#include "html/page.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "image/encode.h"
#include "image/resize.h"

namespace fewshift::html {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --line: #d4d7dd; --soft: #f3f4f6; --text: #1b1e24; --quiet: #5b6270;
  --accent: #1763b6; --bad: #b3261e; --good: #1763b6; --back: #ffffff; --run0: #1763b6; --run1: #b8490c;
  --run2: #1f7a3d; --run3: #8a3ab9; --run4: #8f6b00; --run5: #b3261e; --shade: #00000048; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a3f48; --soft: #22262d; --text: #e6e8ec; --quiet: #a3abb8; --accent: #7db7f5;
    --bad: #ff8a80; --good: #4f9bf0; --back: #16191e; --run0: #6fb1f7; --run1: #f5a263; --run2: #6fce8d; --run3: #cf9bf0;
    --run4: #e0bd4d; --run5: #ff8a80; --shade: #ffffff58; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
  max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
p { margin: .5rem 0; max-width: 46rem; }
.quiet { color: var(--quiet); }
.bad { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; background:  /* a shade at the side where there is more */
    linear-gradient(to right, var(--back) 40%, transparent) left / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--back) 40%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / 1.25rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / 1.25rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; }
.scroll th, .scroll td { overflow-wrap: normal; white-space: nowrap; }
.scroll td code { white-space: nowrap; }
td.n, th.n { text-align: right; }
code { font: .875em ui-monospace, monospace; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; margin: .75rem 0; }
figure { margin: 0; padding: .5rem; background: var(--soft); border-radius: .5rem; max-width: 100%;
  width: 13rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto .25rem; image-rendering: auto; }
figure img.small { image-rendering: pixelated; }
figcaption { font-size: .8125rem; line-height: 1.35; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure.chart { width: auto; min-width: 0; }
figure.chart > figcaption { font-size: 1rem; font-weight: 600; }
.canvas { position: relative; height: 18rem; }
summary { cursor: pointer; }
.matrix { border-spacing: 0; }
.matrix th, .matrix td { padding: .25rem .375rem; border: 0; white-space: nowrap; }
.matrix td { text-align: right; font-size: .875rem; }
.matrix .hit { background: color-mix(in srgb, var(--good) calc(60% * var(--v)), transparent); }
.matrix .miss { background: color-mix(in srgb, var(--bad) calc(85% * var(--v)), transparent); }
.matrix .up { vertical-align: bottom; }
.matrix .up span { writing-mode: vertical-rl; transform: rotate(180deg); }
.history td.hit { min-width: .75rem; border: 1px solid var(--back); } .history th.n { padding: 0; font-weight: 400;
  font-size: .75rem; max-width: .75rem; overflow: visible; }
figure.layer { width: auto; min-width: 9rem; max-width: 15.5rem; font-size: .8125rem; }
figure.layer b { display: block; margin-bottom: .25rem; }
figure.wide { width: 25rem; }
.grid { max-width: 100%; height: auto; }
.grid .cell { fill: color-mix(in srgb, var(--good) calc(100% * var(--v)), var(--back)); }
.grid .middle { fill: var(--back); stroke: var(--quiet); stroke-dasharray: 2 2; }
.grid text { font-size: 9px; text-anchor: middle; fill: var(--text); }
.grid text.on { fill: var(--back); }
.grid .line { stroke: var(--line); fill: none; }
.grid path.home { stroke: var(--quiet); } .grid path.away { stroke: var(--run1); } .grid path { opacity: .75; }
.grid circle.home { fill: var(--quiet); } .grid circle.away { fill: var(--run1); }
@media (max-width: 30rem) {
  figure:not(.chart, .wide) { width: calc(50% - .375rem); min-width: 0; }
  figure.layer .grid { display: block; width: 100%; } }
span.home { color: var(--quiet); font-weight: 600; } span.away { color: var(--run1); font-weight: 600; }
tr.differs { background: var(--soft); font-weight: 600; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
)";

std::string base64(const std::string& bytes) {
  static const char* const kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t k = 0; k < bytes.size(); k += 3) {
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i)
      three = three << 8 | (k + i < bytes.size() ? static_cast<uint8_t>(bytes[k + i]) : 0);
    for (size_t i = 0; i < 4; ++i) text += k + i > bytes.size() ? '=' : kDigits[three >> (18 - 6 * i) & 63];
  }
  return text;
}

// How many bytes of well-formed UTF-8 stand at `at`; 0 for none.
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t k) { return k < text.size() ? static_cast<uint8_t>(text[k]) : 0; };
  const int first = byte(at);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(at + k) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xE0 && byte(at + 1) < 0xA0) || (first == 0xF0 && byte(at + 1) < 0x90),
             outside = (first == 0xED && byte(at + 1) >= 0xA0) || (first == 0xF4 && byte(at + 1) >= 0x90);
  return overlong || outside ? 0 : length;
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    if (length == 0) {
      out += "\uFFFD";
      ++at;
      continue;
    }
    switch (text[at]) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += text.substr(at, length);
    }
    at += length;
  }
  return out;
}

std::string fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string percent(double share, int digits) {
  return fixed(100 * share, digits) + "%";
}

std::string region(const std::string& name, const std::string& table) {
  return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + escape(name) + "\">" + table +
         "</div>\n";
}

std::string picture(const Image& image, int side, const std::string& alt) {
  const int longest = std::max(image.width, image.height);
  Image smaller;
  if (longest > side) {
    const double scale = static_cast<double>(side) / longest;
    smaller = resize(image, std::max(1, static_cast<int>(image.width * scale)),
                     std::max(1, static_cast<int>(image.height * scale)));
  }
  const Image& small = longest > side ? smaller : image;
  const int times = std::max(1, side / longest);
  constexpr int kQuality = 85;
  return "<img" + std::string(times > 1 ? " class=\"small\"" : "") + " width=\"" +
         std::to_string(small.width * times) + "\" height=\"" + std::to_string(small.height * times) +
         "\" alt=\"" + escape(alt) + "\" src=\"data:image/jpeg;base64," +
         base64(encode_jpeg(small, kQuality)) + "\">";
}

std::string page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
         "content=\"width=device-width, initial-scale=1\">\n<title>" +
         escape(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" + escape(title) +
         "</h1>\n" + body + "</body>\n</html>\n";
}

}  // namespace fewshift::html
