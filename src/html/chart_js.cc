// SPDX-License-Identifier: Apache-2.0
#include "html/chart_js.h"

// FEWSHIFT_CHART_JS is the file's path, from CMakeLists.txt.
asm(".pushsection .rodata\n"
    "fewshift_chart_js_begin:\n"
    ".incbin \"" FEWSHIFT_CHART_JS
    "\"\n"
    "fewshift_chart_js_end:\n"
    ".byte 0\n"
    ".global fewshift_chart_js_begin, fewshift_chart_js_end\n"
    ".hidden fewshift_chart_js_begin, fewshift_chart_js_end\n"
    ".popsection\n");

extern "C" const char fewshift_chart_js_begin[], fewshift_chart_js_end[];

namespace fewshift::html {

std::string_view chart_js() {
  return {fewshift_chart_js_begin, static_cast<size_t>(fewshift_chart_js_end - fewshift_chart_js_begin)};
}

}  // namespace fewshift::html
