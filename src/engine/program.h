// A graph as the engine computes it: steps from map to map. Slices, joins, shuffles and shifts of channels
// are no steps: they are views, lists of where each channel is read. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "core/aligned.h"
#include "core/floats.h"
#include "graph/graph.h"
#include "graph/limits.h"
#include "kernels/elementwise.h"

namespace fewshift::engine {

// A channel of a view: pixel (i,j) is the map's pixel (stride_y*i + dy, stride_x*j + dx), zero outside of it.
struct Source {
  int map = -1;  // none: zeros
  int channel = 0, dy = 0, dx = 0;
};
struct View {
  std::vector<Source> channels;
  int64_t height = 0, width = 0, stride_y = 1, stride_x = 1;
};

struct Map {
  int64_t channels = 0, height = 0, width = 0;
  bool planar = false;  // channel by channel rather than in blocks: the picture as it comes
  bool tail = false;    // one pixel, behind the last average: the pictures of a batch are its columns
  // Where it lies in place of another, which itself does not: channel 0 is that one's channel `first`.
  int in_place_of = -1, first = 0;
};

// Operators of steps. A convolution's weight is [out][in * kernel * kernel]; of a depthwise one,
// [channels][kernel * kernel]. What prepare() makes of them the kernels read.
struct Convolve {
  graph::Conv conv;
  Floats weight, bias;
  std::vector<int64_t> order;  // rows of the weight, if the outputs do not stand as they do
  std::vector<Source> inputs;  // prepared: each product's, for output pixel (0,0)
  int64_t stride_y = 1, stride_x = 1;
  int64_t packed = 0, packed_bias = 0;  // where, in Program::weights
};
struct ConvolveDepthwise {
  graph::Conv conv;
  Floats weight, bias;
  int64_t packed = 0, packed_bias = 0;  // where, in Program::weights
};
struct PoolPixels {
  graph::Pool pool;
};
struct AveragePixels {};
struct Apply {
  ElementFunction function;
  float low = 0, high = 0;
};
struct Combine {  // two maps
  bool multiply = false;
};
// Each channel times a number plus a number; or times, or plus, the channels of a second view of one pixel.
struct Scale {
  AlignedFloats scale, shift;
  bool adds = false;  // the second view's channels are added, not multiplied by
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
};
struct Copy {};
struct SoftMax {};  // over the channels

using Operator = std::variant<Convolve, ConvolveDepthwise, PoolPixels, AveragePixels, Apply, Combine, Scale,
                              Copy, SoftMax>;

struct Step {
  std::string name;
  Operator op;
  std::vector<View> reads;  // a Convolve that adds: the second is what it adds
  int writes = 0;
  bool tail = false;  // once for all pictures of a batch, after the steps for each
  bool shifts = false;
};

struct Program {
  std::vector<Map> maps;
  std::vector<Step> steps;
  AlignedFloats weights;  // as the kernels read them
  int input = 0;
  View output;
  View features;  // what the last pooling over a whole map gives; no channels where there is none
  bool probabilities = false;                    // a softmax comes last
  int64_t madds = 0, memory_bytes = 0;           // memory_bytes: what a session may take
  std::vector<int64_t> input_dims, output_dims;  // of one picture, with the batch: [1,3,224,224]
};

// The passes, then the steps, for vectors of `lanes` floats. Throws Error (kUnsupported, naming the node) for
// what it cannot compute or what is beyond the limits.
Program build_program(graph::Graph graph, int lanes, const graph::Limits& limits);

// Where a sum, or a function of every element, may be written over what it reads.
void write_in_place(Program& program, int lanes);

// Channels that one convolution writes and one reads, by how far down they are displaced: so that vectors of
// channels need the same rows of each (units.h).
void sort_channels(Program& program);

// Copies for the operands that must lie as their step's kernel reads them, and weights as it reads them.
void prepare(Program& program, int lanes);

// A view's channels as they lie: in maps that are in place of no other.
View resolved(const Program& program, const View& view);

// The steps that read each map; -1: the output.
std::vector<std::set<int>> readers_of(const Program& program);

// The first channel, if the view is a whole run of one map's channels, as they stand; else -1.
int run_of(const View& view);

}  // namespace fewshift::engine
