// What shifts cost where they are a pass over memory of their own, as the public implementations have it:
// each layer's map [C][H][W] copied channel by channel, moved. usage: shift_copy MODEL.onnx; prints
// milliseconds for one picture, one thread. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"

namespace {

using fewshift::graph::Dims;
using fewshift::graph::Shift;

void copy(const Shift& shift, const Dims& x, const float* from, float* to) {
  const int64_t height = x[2], width = x[3], stride = shift.stride;
  for (const auto& [dy, dx] : shift.moves) {
    for (int64_t i = 0; i < height; i += stride) {
      const int64_t row = i + dy;
      if (row < 0 || row >= height) {
        std::fill_n(to, (width + stride - 1) / stride, 0.0f);
      } else if (stride == 1) {
        const int64_t begin = std::clamp<int64_t>(-dx, 0, width),
                      end = std::clamp<int64_t>(width - dx, begin, width);
        std::fill_n(to, begin, 0.0f);
        std::copy_n(from + row * width + begin + dx, end - begin, to + begin);
        std::fill(to + end, to + width, 0.0f);
      } else {
        for (int64_t j = 0; j < width; j += stride) {
          const int64_t column = j + dx;
          to[j / stride] = column < 0 || column >= width ? 0.0f : from[row * width + column];
        }
      }
      to += (width + stride - 1) / stride;
    }
    from += height * width;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: shift_copy MODEL.onnx");
  fewshift::graph::Graph g = fewshift::graph::read_onnx(argv[1]);
  fewshift::graph::recognise_shift(g);
  Dims input = g.input_dims;
  input[0] = 1;
  const auto dims = infer_shapes(g, input);
  double total = 0;
  for (const auto& node : g.nodes) {
    const auto* shift = std::get_if<Shift>(&node.op);
    if (!shift) continue;
    const Dims& x = dims[node.inputs[0]];
    std::vector<float> from(fewshift::graph::elements(x), 1.0f),
        to(fewshift::graph::elements(dims[node.output]));
    std::vector<double> times;
    for (int k = 0; k < 51; ++k) {
      const auto began = std::chrono::steady_clock::now();
      copy(*shift, x, from.data(), to.data());
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    }
    std::nth_element(times.begin(), times.begin() + 25, times.end());
    total += times[25];
  }
  std::printf("%.4f\n", 1e3 * total);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "shift_copy: %s\n", error.what());
  return 1;
}
