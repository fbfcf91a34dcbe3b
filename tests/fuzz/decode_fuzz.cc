// Fuzzes the picture decoders: whatever the bytes, decode_image returns a picture or throws Error.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "image/decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (int min_side : {0, 24}) {
    try {
      const fewshift::Image image = fewshift::decode_image(bytes, "fuzz", min_side);
      if (image.pixels.size() != size_t(image.width) * image.height * 3 || image.pixels.empty()) std::abort();
    } catch (const fewshift::Error&) {
    }
  }
  return 0;
}
