// Pages of one file: style, pictures and scripts are in it, and nothing is fetched.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "image/image.h"

namespace fewshift::html {

// Text for between tags and in quotes; bytes that are not UTF-8 become U+FFFD.
std::string escape(const std::string& text);

// "0.250" and "25.00%".
std::string fixed(double value, int digits);
std::string percent(double share, int digits = 2);

// A table in a frame of its own that scrolls sideways, by keyboard too.
std::string region(const std::string& name, const std::string& table);

// <img> of a picture, scaled so that neither side is over `side` px, never enlarged; small ones (icons, 32
// px) are shown enlarged by whole factors instead. `alt` is escaped here.
std::string picture(const Image& image, int side, const std::string& alt);

// A whole page around `body`, which begins below the <h1>. Light and dark by the reader's setting, one column
// on a narrow screen.
std::string page(const std::string& title, const std::string& body);

}  // namespace fewshift::html
