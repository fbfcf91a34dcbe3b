// SPDX-License-Identifier: Apache-2.0
#include "image/encode.h"

#include <turbojpeg.h>

#include <memory>
#include <new>

#include "core/error.h"

namespace fewshift {

std::string encode_jpeg(const Image& image, int quality) {
  struct Destroy {
    void operator()(void* handle) const { tjDestroy(handle); }
  };
  struct Free {
    void operator()(unsigned char* bytes) const { tjFree(bytes); }
  };
  const std::unique_ptr<void, Destroy> handle(tjInitCompress());
  if (!handle) throw std::bad_alloc();
  unsigned char* to = nullptr;
  unsigned long size = 0;
  const int failed = tjCompress2(handle.get(), image.pixels.data(), image.width, 0, image.height, TJPF_RGB,
                                 &to, &size, TJSAMP_420, quality, 0);
  const std::unique_ptr<unsigned char, Free> bytes(to);
  if (failed) throw Error(ErrorCode::kUnsupported, "JPEG", tjGetErrorStr2(handle.get()));
  return {reinterpret_cast<const char*>(bytes.get()), size};
}

}  // namespace fewshift
