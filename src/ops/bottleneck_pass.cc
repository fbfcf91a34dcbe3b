// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_pass.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <numeric>

namespace fewshift::bottleneck {
namespace {

using Ending = PlanarProduct::Ending;

constexpr int64_t kHiddenBytes = 160 * 1024;  // of hidden channels' planes, in the second cache
constexpr int64_t kNarrowBytes = 96 * 1024;   // of one narrow map's planes, beside them
constexpr int64_t kPixels = 1024;             // of a group of images: enough for long sums
// Parts of a batch, each with sums of its own, which threads take as they come; so many whatever the number
// of threads, for the same result.
constexpr int64_t kParts = 8;

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Whatever lies in one call's caches: images of one part at a time.
int64_t images_together(const Shape& s) {
  const int64_t pixels = s.H * s.W, most = std::max(s.width, s.out) * pixels * 4;
  const int64_t part = (s.N + kParts - 1) / kParts;
  const int64_t few = std::clamp<int64_t>(std::min(kPixels / pixels, kNarrowBytes / most), 1, part);
  const int64_t groups = (part + few - 1) / few;
  return (part + groups - 1) / groups;
}

// Maps of a thread, zero at first.
class Memory {
 public:
  explicit Memory(int64_t floats) : memory_(kept()) {
    if (static_cast<int64_t>(memory_.size()) < floats) memory_.resize(floats);
    std::fill_n(memory_.data(), floats, 0.0f);
  }
  float* take(int64_t floats) {
    float* const begin = memory_.data() + taken_;
    taken_ += round_up(floats, 16);
    return begin;
  }

 private:
  static AlignedFloats& kept() {
    thread_local AlignedFloats memory;
    return memory;
  }
  AlignedFloats& memory_;
  int64_t taken_ = 0;
};

// Calls f(walk, part, first image, last image + 1) for each part of the batch, a `Walk(args...)` each thread.
// Every other time in the opposite order: what the walk before saw last is still in the cache.
template <class Walk, class F, class... Args>
void each_part(int64_t N, F f, const Args&... args) {
  const int64_t parts = std::min(kParts, N), threads = std::min<int64_t>(at::get_num_threads(), parts);
  static std::atomic<int64_t> walks{0};
  const bool turned = walks++ % 2 == 1;
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Walk walk(args...);
      for (int64_t k; (k = next++) < parts;) {
        const int64_t part = turned ? parts - 1 - k : k;
        f(walk, part, part * N / parts, (part + 1) * N / parts);
      }
    }
  });
}

std::vector<int32_t> strided(int64_t count, int64_t step) {
  std::vector<int32_t> offsets(count);
  for (int64_t k = 0; k < count; ++k) offsets[k] = static_cast<int32_t>(k * step);
  return offsets;
}

// Hidden channels that are made together. Rows: channels rounded up to whole tiles, over all chunks.
struct Chunk {
  int64_t begin, count, row, rows, phase;
};

// All that does not depend on the images. Hidden channels are put in the order of the phase they read.
struct Plan {
  Plan(const Work& work, bool backward)
      : w(work),
        shape(w.shape),
        kernels(fewshift::kernels()),
        height(kernels.planar_height),
        direct(std::all_of(w.taps.begin(), w.taps.end(), [](const Taps& t) { return t.size() == 1; })),
        every_phase(shape.phases() > 1 && (!direct || (backward && (w.measures || !w.corners.empty())))),
        in_rows(round_up(shape.width, height)),
        out_rows(round_up(shape.out, height)),
        grid(make_grid(w)) {
    if (grid.wide_floats > (1 << 24))
      throw std::bad_alloc();  // offsets are of 32 bits; the caller never comes here with such maps
    for (int64_t phase = 0; phase < shape.phases(); ++phase)
      masks.push_back(grid.masks(rows(phase), columns(phase)));
    order.resize(shape.hidden);
    std::iota(order.begin(), order.end(), 0);
    if (direct) {
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return w.taps[a][0].phase < w.taps[b][0].phase; });
    }
    divide(backward);
  }

  Planes make_grid(const Work& w) const {
    int64_t y = 0, x = 0;
    auto look = [&](const Tap& tap) { y = std::max(y, std::abs(tap.y)), x = std::max(x, std::abs(tap.x)); };
    for (const Taps& taps : w.taps) std::for_each(taps.begin(), taps.end(), look);
    for (const auto& corners : w.corners) std::for_each(corners.begin(), corners.end(), look);
    return Planes(images_together(shape), rows(0), columns(0), y, x, kernels.lanes);
  }
  // Of a phase.
  int64_t rows(int64_t phase) const { return (shape.H + shape.stride - 1 - phase / 2) / shape.stride; }
  int64_t columns(int64_t phase) const { return (shape.W + shape.stride - 1 - phase % 2) / shape.stride; }
  Pixels pixels(int64_t phase) const { return {rows(phase), columns(phase), shape.W, shape.stride}; }
  int64_t first_pixel(int64_t phase) const { return phase / 2 * shape.W + phase % 2; }
  Pixels out_pixels() const { return {shape.H_out, shape.W_out, shape.W_out}; }

  void divide(bool backward) {
    const int64_t maps = (every_phase ? 4 : 1) + (backward) + (direct ? 0 : 1 + backward);
    const int64_t most =
        std::max(kHiddenBytes / (maps * grid.wide_floats * 4) / height * height, int64_t{height});
    int64_t row = 0;
    for (int64_t begin = 0; begin < shape.hidden;) {
      int64_t end = begin;
      while (end < shape.hidden && phase_of(end) == phase_of(begin)) ++end;
      const int64_t parts = (round_up(end - begin, height) + most - 1) / most,
                    each = round_up((end - begin + parts - 1) / parts, height);
      for (; begin < end; begin += chunks.back().count) {
        const int64_t count = std::min(each, end - begin);
        chunks.push_back({begin, count, row, round_up(count, height), phase_of(begin)});
        row += chunks.back().rows;
        chunk = std::max(chunk, chunks.back().rows);
      }
    }
    hidden_rows = row;
  }
  int64_t phase_of(int64_t m) const { return direct ? w.taps[order[m]][0].phase : 0; }

  // From a channel's place in a chunk's maps to what a tap reads.
  int32_t offset(const Tap& tap) const {
    return static_cast<int32_t>((every_phase ? tap.phase * chunk * grid.wide_floats : 0) +
                                tap.y * grid.pitch + tap.x);
  }

  const Work& w;
  const Shape shape;
  const Kernels& kernels;
  const int height;
  const bool direct;  // one pixel each: nothing stands between the hidden map and its readers
  const bool every_phase;
  const int64_t in_rows, out_rows;        // channels, rounded up to whole tiles
  const Planes grid;                      // of a phase, and of the output
  std::vector<std::vector<float>> masks;  // [phase]
  std::vector<int64_t> order;             // [hidden] the channel that comes there
  std::vector<Chunk> chunks;
  int64_t chunk = 0, hidden_rows = 0;  // rows of the largest, and of all
};

// Weights as the kernels read them, chunk by chunk, and offsets.
struct Packed {
  Packed(const Plan& p, bool backward) {
    const Shape& s = p.shape;
    std::vector<float> rows(s.hidden * s.width), columns(s.out * s.hidden);
    bias.resize(p.hidden_rows, 0.0f);
    expand.resize(p.hidden_rows * s.width);
    project.resize(p.out_rows * s.hidden);
    if (backward) expand_back.resize(p.in_rows * s.hidden), project_back.resize(p.hidden_rows * s.out);
    still.resize(p.hidden_rows), moved.resize(p.hidden_rows), back.resize(p.hidden_rows);
    for (int64_t m = 0; m < s.hidden; ++m) {
      const int64_t from = p.order[m];
      std::copy_n(&p.w.expand[from * s.width], s.width, &rows[m * s.width]);
      for (int64_t o = 0; o < s.out; ++o) columns[o * s.hidden + m] = p.w.project[o * s.hidden + from];
    }
    for (const Chunk& c : p.chunks) {
      const float *const w1 = &rows[c.begin * s.width], *const w2 = &columns[c.begin];
      pack_planar(w1, c.count, s.width, s.width, 1, p.height, &expand[c.row * s.width]);
      pack_planar(w2, s.out, c.count, s.hidden, 1, p.height, &project[p.out_rows * c.begin]);
      if (backward) {
        pack_planar(w1, s.width, c.count, 1, s.width, p.height, &expand_back[p.in_rows * c.begin]);
        pack_planar(w2, c.count, s.out, 1, s.hidden, p.height, &project_back[c.row * s.out]);
      }
      for (int64_t k = 0; k < c.rows; ++k) {
        const auto place = static_cast<int32_t>(k * p.grid.wide_floats);
        still[c.row + k] = moved[c.row + k] = back[c.row + k] = place;
        if (k >= c.count) continue;
        bias[c.row + k] = p.w.bias[p.order[c.begin + k]];
        if (!p.direct) continue;
        const Tap& tap = p.w.taps[p.order[c.begin + k]][0];
        moved[c.row + k] = place + p.offset(tap);
        back[c.row + k] = static_cast<int32_t>(place - tap.y * p.grid.pitch - tap.x);
      }
    }
    sampled = strided(p.chunk, p.grid.narrow_floats);
    inputs = strided(p.in_rows, p.grid.narrow_floats);
    outputs = strided(p.out_rows, p.grid.narrow_floats);
  }
  AlignedFloats expand, expand_back, project, project_back;
  std::vector<float> bias;
  std::vector<int32_t> still, moved, back;  // of hidden channels in their chunk; `back`: against the shift
  std::vector<int32_t> sampled, inputs, outputs;
};

// Sums of a part of the batch.
struct Sums {
  std::vector<float> project, expand;          // [hidden][out_rows], [hidden][in_rows]
  std::vector<double> sums, corners, removal;  // [hidden], [4][hidden], [hidden]
};

// One thread's walk over groups of images.
class Walk {
 public:
  Walk(const Plan& plan, const Packed& packed, bool backward)
      : p_(plan), packed_(packed), s_(plan.shape), g_(plan.grid), memory_(floats(plan, backward)) {
    x_ = memory_.take(s_.phases() * p_.in_rows * g_.narrow_floats);
    y_ = memory_.take(p_.out_rows * g_.narrow_floats);
    a_ = memory_.take((p_.every_phase ? s_.phases() : 1) * p_.chunk * g_.wide_floats);
    if (!p_.direct) z_ = memory_.take(p_.chunk * g_.narrow_floats);
    if (!backward) return;
    dx_ = memory_.take(s_.phases() * p_.in_rows * g_.narrow_floats);
    dh_ = memory_.take(p_.chunk * g_.wide_floats);
    lanes_ = memory_.take(p_.hidden_rows * p_.kernels.lanes);
    if (!p_.direct) da_ = memory_.take(p_.chunk * g_.wide_floats);
  }

  void start(int64_t first, int64_t end) {
    first_ = first, images_ = end - first;
    vectors_ = images_ * g_.image_vectors;
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t phase = 0; phase < s_.phases(); ++phase) {
        for (int64_t c = 0; c < s_.width; ++c)
          pack_plane(
              p_.w.x + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W + p_.first_pixel(phase),
              p_.pixels(phase), g_, 1.0f, -p_.w.centre[c], input(phase, c) + n * g_.narrow_image);
      }
    }
    std::fill_n(written_, 4, false);
  }
  void start_backward(const float* dz, const float* y, const Affine& dy) {
    const int64_t pixels = s_.H_out * s_.W_out;
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t o = 0; o < s_.out; ++o) {
        const int64_t image = first_ + n;
        pack_plane(dz + (image * (s_.first + s_.out) + s_.first + o) * pixels,
                   y + (image * s_.out + o) * pixels, p_.out_pixels(), g_, dy.a[o], dy.b[o], dy.centre[o],
                   dy.c[o], y_ + o * g_.narrow_floats + n * g_.narrow_image);
      }
    }
  }

  // y = project * what the spatial operator gives; then to the tensor.
  void forward(float* y) {
    for (const Chunk& chunk : p_.chunks) {
      produce(chunk);
      PlanarProduct product = reader(chunk);
      product.weights = packed_.project.data() + p_.out_rows * chunk.begin;
      product.adds = chunk.begin > 0;
      product.y = y_, product.y_plane = g_.narrow_floats, product.y_vectors = g_.narrow.data();
      product.outputs = p_.out_rows;
      p_.kernels.planar_product(product);
    }
    const int64_t pixels = s_.H_out * s_.W_out;
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t o = 0; o < s_.out; ++o)
        unpack_plane(y_ + o * g_.narrow_floats + n * g_.narrow_image, g_, p_.out_pixels(),
                     y + ((first_ + n) * s_.out + o) * pixels);
    }
  }

  // Adds to the sums, and writes dx.
  void backward(Sums& sums, float* dx) {
    for (const Chunk& chunk : p_.chunks) {
      produce(chunk);
      const PlanarProduct hidden = reader(chunk);
      PlanarDots dots;
      dots.a = y_, dots.a_plane = g_.narrow_floats, dots.a_vectors = g_.narrow.data();
      dots.b = hidden.x, dots.b_offsets = hidden.x_offsets, dots.b_vectors = hidden.x_vectors;
      dots.out = sums.project.data() + chunk.begin * p_.out_rows, dots.out_column = p_.out_rows;
      dots.rows = p_.out_rows, dots.columns = chunk.count, dots.vectors = vectors_;
      p_.kernels.planar_dots(dots);
      if (p_.direct) {
        shifted_gradient(chunk, sums);
        descend(chunk, chunk.phase, dh_, packed_.back.data() + chunk.row, sums);
        continue;
      }
      PlanarProduct gradient = gradient_product(chunk);
      p_.kernels.planar_product(gradient);
      if (!p_.w.corners.empty()) correlate(chunk, false, sums);
      for (int64_t phase = 0; phase < s_.phases(); ++phase) {
        unsample(chunk, phase, sums);
        descend(chunk, phase, da_, packed_.still.data() + chunk.row, sums);
      }
    }
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t phase = 0; phase < s_.phases(); ++phase) {
        if (!written_[phase]) std::fill_n(narrow(dx_, phase, 0), p_.in_rows * g_.narrow_floats, 0.0f);
        for (int64_t c = 0; c < s_.width; ++c)
          unpack_plane(
              narrow(dx_, phase, c) + n * g_.narrow_image, g_, p_.pixels(phase),
              dx + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W + p_.first_pixel(phase));
      }
    }
  }

  // Sums of the gradient before the ReLU, of the images since the last call.
  void take_lanes(std::vector<double>& sums) {
    const int lanes = p_.kernels.lanes;
    for (const Chunk& chunk : p_.chunks) {
      for (int64_t k = 0; k < chunk.count; ++k) {
        for (int lane = 0; lane < lanes; ++lane)
          sums[chunk.begin + k] += lanes_[(chunk.row + k) * lanes + lane];
      }
    }
    std::fill_n(lanes_, p_.hidden_rows * lanes, 0.0f);
  }

 private:
  static int64_t floats(const Plan& p, bool backward) {
    const int64_t phases = p.shape.phases(), in = phases * p.in_rows * p.grid.narrow_floats,
                  out = p.out_rows * p.grid.narrow_floats, wide = p.chunk * p.grid.wide_floats,
                  sampled = p.direct ? 0 : p.chunk * p.grid.narrow_floats;
    const int64_t forward = in + out + (p.every_phase ? phases : 1) * wide + sampled;
    return forward + (backward ? in + (p.direct ? 1 : 2) * wide + p.hidden_rows * p.kernels.lanes : 0) + 256;
  }

  float* narrow(float* planes, int64_t phase, int64_t c) const {
    return planes + (phase * p_.in_rows + c) * g_.narrow_floats;
  }
  float* input(int64_t phase, int64_t c) const { return narrow(x_, phase, c); }
  // The hidden activation in a phase; whichever is there, where only one is.
  float* hidden(int64_t phase) const { return a_ + (p_.every_phase ? phase * p_.chunk * g_.wide_floats : 0); }

  // relu(expand), and, if sampled, what its readers see.
  void produce(const Chunk& chunk) {
    for (int64_t phase = 0; phase < s_.phases(); ++phase) {
      if (!p_.every_phase && phase != chunk.phase) continue;
      PlanarProduct product;
      product.ending = Ending::kRelu;
      product.x = input(phase, 0), product.x_offsets = packed_.inputs.data();
      product.x_vectors = g_.narrow.data();
      product.weights = packed_.expand.data() + chunk.row * s_.width;
      product.bias = packed_.bias.data() + chunk.row;
      product.y = hidden(phase), product.y_plane = g_.wide_floats, product.y_vectors = g_.wide.data();
      product.masks = p_.masks[phase].empty() ? nullptr : p_.masks[phase].data();
      product.inputs = s_.width, product.outputs = chunk.rows, product.vectors = vectors_;
      p_.kernels.planar_product(product);
    }
    for (int64_t k = 0; !p_.direct && k < chunk.count; ++k) {
      PlanarSample sample;
      sample.x = a_ + k * g_.wide_floats, sample.x_vectors = g_.wide.data();
      sample.y = z_ + k * g_.narrow_floats, sample.y_vectors = g_.narrow.data();
      sample.vectors = vectors_;
      for (const Tap& tap : taps(chunk, k)) {
        sample.offsets[sample.taps] = p_.offset(tap);
        sample.weights[sample.taps++] = tap.weight;
      }
      p_.kernels.planar_sample(sample);
    }
  }
  const Taps& taps(const Chunk& chunk, int64_t k) const { return p_.w.taps[p_.order[chunk.begin + k]]; }

  // A product's inputs: the chunk's channels behind the spatial operator.
  PlanarProduct reader(const Chunk& chunk) const {
    PlanarProduct product;
    product.x = p_.direct ? a_ : z_;
    product.x_offsets = p_.direct ? packed_.moved.data() + chunk.row : packed_.sampled.data();
    product.x_vectors = p_.direct ? g_.wide.data() : g_.narrow.data();
    product.inputs = chunk.count, product.vectors = vectors_;
    return product;
  }

  // dh = project' * dy
  PlanarProduct gradient_product(const Chunk& chunk) const {
    PlanarProduct product;
    product.x = y_, product.x_offsets = packed_.outputs.data(), product.x_vectors = g_.narrow.data();
    product.weights = packed_.project_back.data() + chunk.row * s_.out;
    product.inputs = s_.out, product.outputs = chunk.rows, product.vectors = vectors_;
    product.y = dh_, product.y_plane = g_.wide_floats, product.y_vectors = g_.wide.data();
    return product;
  }

  // dh, zero where the pixel it comes from is.
  void shifted_gradient(const Chunk& chunk, Sums& sums) {
    PlanarProduct product = gradient_product(chunk);
    const bool learns = p_.w.measures || !p_.w.corners.empty();
    if (!learns) {
      product.ending = Ending::kMask;
      product.gate = a_, product.gate_offsets = packed_.moved.data() + chunk.row;
      product.gate_vectors = g_.wide.data();
      product.sums = lanes_ + chunk.row * p_.kernels.lanes;
    }
    p_.kernels.planar_product(product);
    if (learns) correlate(chunk, true, sums);
  }

  // What displacements learn from: correlations of dh with the hidden activation at their corners. Gated: dh
  // becomes zero where the shifted activation is.
  void correlate(const Chunk& chunk, bool gated, Sums& sums) {
    const bool learns = !p_.w.corners.empty(), measures = p_.w.measures;
    for (int64_t k = 0; k < chunk.count; ++k) {
      const int64_t m = chunk.begin + k;
      PlanarTaps t;
      t.g = dh_ + k * g_.wide_floats, t.z = a_ + k * g_.wide_floats;
      t.taps = measures ? 6 : 4;
      for (int i = 0; learns && i < 4; ++i) t.offsets[i] = p_.offset(p_.w.corners[p_.order[m]][i]);
      t.offsets[4] = 0;
      t.offsets[5] = t.gate = p_.offset(taps(chunk, k)[0]);
      t.gated = gated;
      t.vectors = measures ? g_.image_vectors : vectors_;
      for (int64_t v = 0; v < vectors_; v += t.vectors) {
        t.g_vectors = t.z_vectors = g_.wide.data() + v;
        p_.kernels.planar_taps(t);
        for (int i = 0; learns && i < 4; ++i) sums.corners[i * s_.hidden + m] += t.dots[i];
        if (measures) sums.removal[m] += (t.dots[4] - t.dots[5]) * (t.dots[4] - t.dots[5]);
        if (gated) lanes_[(chunk.row + k) * p_.kernels.lanes] += static_cast<float>(t.sum);
      }
    }
  }

  // da: what of dh comes from a phase's hidden activation, zero where that is.
  void unsample(const Chunk& chunk, int64_t phase, Sums&) {
    for (int64_t k = 0; k < chunk.count; ++k) {
      PlanarSample sample;
      sample.x = dh_ + k * g_.wide_floats, sample.y = da_ + k * g_.wide_floats;
      sample.x_vectors = sample.y_vectors = g_.wide.data(), sample.vectors = vectors_;
      for (const Tap& tap : taps(chunk, k)) {
        if (tap.phase != phase) continue;
        sample.offsets[sample.taps] = static_cast<int32_t>(-tap.y * g_.pitch - tap.x);
        sample.weights[sample.taps++] = tap.weight;
      }
      p_.kernels.planar_sample(sample);
      PlanarTaps gate;
      gate.g = sample.y, gate.z = hidden(phase) + k * g_.wide_floats;
      gate.g_vectors = gate.z_vectors = g_.wide.data(), gate.vectors = vectors_, gate.gated = true;
      p_.kernels.planar_taps(gate);
      lanes_[(chunk.row + k) * p_.kernels.lanes] += static_cast<float>(gate.sum);
    }
  }

  // From the gradient before the ReLU to that of the expand's weights and of x.
  void descend(const Chunk& chunk, int64_t phase, const float* gradient, const int32_t* offsets, Sums& sums) {
    PlanarDots dots;
    dots.a = input(phase, 0), dots.a_plane = g_.narrow_floats, dots.a_vectors = g_.narrow.data();
    dots.b = gradient, dots.b_offsets = offsets, dots.b_vectors = g_.wide.data();
    dots.out = sums.expand.data() + chunk.begin * p_.in_rows, dots.out_column = p_.in_rows;
    dots.rows = p_.in_rows, dots.columns = chunk.count, dots.vectors = vectors_;
    p_.kernels.planar_dots(dots);
    PlanarProduct product;
    product.x = gradient, product.x_offsets = offsets, product.x_vectors = g_.wide.data();
    product.weights = packed_.expand_back.data() + p_.in_rows * chunk.begin;
    product.adds = written_[phase];
    product.y = narrow(dx_, phase, 0), product.y_plane = g_.narrow_floats,
    product.y_vectors = g_.narrow.data();
    product.inputs = chunk.count, product.outputs = p_.in_rows, product.vectors = vectors_;
    p_.kernels.planar_product(product);
    written_[phase] = true;
  }

  const Plan& p_;
  const Packed& packed_;
  const Shape& s_;
  const Planes& g_;
  Memory memory_;
  // Of all channels: x less its centre, y or its gradient, dx. Of a chunk's: the hidden activation, what is
  // sampled from it, the gradients of that and of the activation. Sums of the latter, lane by lane.
  float *x_ = nullptr, *y_ = nullptr, *dx_ = nullptr, *a_ = nullptr, *z_ = nullptr, *dh_ = nullptr,
        *da_ = nullptr, *lanes_ = nullptr;
  bool written_[4] = {};
  int64_t first_ = 0, images_ = 0, vectors_ = 0;
};

// x's channels alone, as planes: for the walks that do not see the hidden activation.
class Inputs {
 public:
  explicit Inputs(const Work& work)
      : w_(work),
        s_(work.shape),
        kernels_(fewshift::kernels()),
        rows(round_up(s_.width, kernels_.planar_height)),
        planes(images_together(s_), s_.H, s_.W, 0, 0, kernels_.lanes),
        memory_(2 * rows * planes.narrow_floats + 64),
        x_(memory_.take(rows * planes.narrow_floats)),
        dx(memory_.take(rows * planes.narrow_floats)),
        offsets_(strided(rows, planes.narrow_floats)) {}

  void start(int64_t first, int64_t end, const float* centre, double* sums) {
    first_ = first, images_ = end - first;
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t c = 0; c < s_.width; ++c) {
        const double sum = pack_plane(w_.x + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W,
                                      pixels(), planes, 1.0f, -centre[c], x_ + place(n, c));
        if (sums) sums[c] += sum;
      }
    }
  }
  Pixels pixels() const { return {s_.H, s_.W, s_.W}; }
  int64_t place(int64_t n, int64_t c) const { return c * planes.narrow_floats + n * planes.narrow_image; }

  // products[j * rows + i] += for j from i's tile on.
  void add_products(float* products) const {
    for (int64_t i = 0; i < rows; i += kernels_.planar_height) {
      PlanarDots dots;
      dots.a = x_ + i * planes.narrow_floats, dots.a_plane = planes.narrow_floats;
      dots.b = x_, dots.b_offsets = offsets_.data() + i;
      dots.a_vectors = dots.b_vectors = planes.narrow.data();
      dots.out = products + i * rows + i, dots.out_column = rows;
      dots.rows = kernels_.planar_height, dots.columns = s_.width - i;
      dots.vectors = images_ * planes.image_vectors;
      kernels_.planar_dots(dots);
    }
  }
  // dx += weights * x, packed.
  void correct(const float* weights) const {
    PlanarProduct product;
    product.x = x_, product.x_offsets = offsets_.data(), product.weights = weights, product.adds = true;
    product.y = dx, product.y_plane = planes.narrow_floats;
    product.x_vectors = product.y_vectors = planes.narrow.data();
    product.inputs = s_.width, product.outputs = rows, product.vectors = images_ * planes.image_vectors;
    kernels_.planar_product(product);
  }

 private:
  const Work& w_;
  const Shape& s_;
  const Kernels& kernels_;

 public:
  const int64_t rows;
  const Planes planes;

 private:
  Memory memory_;
  float* const x_;

 public:
  float* const dx;

 private:
  const std::vector<int32_t> offsets_;
  int64_t first_ = 0, images_ = 0;
};

// Calls f(first, end) for the groups of images from `begin` to `end`.
template <class F>
void each_group(int64_t begin, int64_t end, int64_t group, F f) {
  for (int64_t n = begin; n < end; n += group) f(n, std::min(n + group, end));
}

// [hidden][rows] of the parts, added up in the parts' order, as [hidden][count], in the order of the
// channels.
std::vector<double> total(const std::vector<Sums>& parts, std::vector<float> Sums::*which, int64_t rows,
                          int64_t count, const std::vector<int64_t>& order) {
  std::vector<double> sum((parts[0].*which).size(), 0.0), result(order.size() * count);
  for (const Sums& part : parts) {
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += (part.*which)[k];
  }
  for (size_t m = 0; m < order.size(); ++m) std::copy_n(&sum[m * rows], count, &result[order[m] * count]);
  return result;
}
std::vector<double> total(const std::vector<Sums>& parts, std::vector<double> Sums::*which,
                          const std::vector<int64_t>& order) {
  const auto hidden = static_cast<int64_t>(order.size());
  std::vector<double> result((parts[0].*which).size(), 0.0);
  for (const Sums& part : parts) {
    for (size_t k = 0; k < result.size(); ++k)
      result[static_cast<int64_t>(k) / hidden * hidden + order[static_cast<int64_t>(k) % hidden]] +=
          (part.*which)[k];
  }
  return result;
}

}  // namespace

void input_moments(const Work& work, std::vector<double>& mean, std::vector<double>& covariance) {
  const Shape& s = work.shape;
  const int64_t C = s.width, pixels = s.H * s.W, rows = round_up(C, fewshift::kernels().planar_height);
  std::vector<float> pivot(C);  // near the mean, so that squares lose nothing
  for (int64_t c = 0; c < C; ++c) {
    Moments first;
    first.add(work.x + (s.first + c) * pixels, pixels);
    pivot[c] = static_cast<float>(first.mean);
  }
  std::vector<std::vector<double>> sums(kParts, std::vector<double>(C)),
      products(kParts, std::vector<double>(rows * rows));
  each_part<Inputs>(
      s.N,
      [&](Inputs& inputs, int64_t part, int64_t begin, int64_t end) {
        std::vector<float> some(rows * rows);
        each_group(begin, end, inputs.planes.images, [&](int64_t first, int64_t last) {
          inputs.start(first, last, pivot.data(), sums[part].data());
          std::fill(some.begin(), some.end(), 0.0f);
          inputs.add_products(some.data());
          for (int64_t k = 0; k < rows * rows; ++k) products[part][k] += some[k];
        });
      },
      work);
  const double P = static_cast<double>(s.N * pixels);
  std::vector<double> off(C);
  for (int64_t t = 1; t < kParts; ++t) {
    for (int64_t c = 0; c < C; ++c) sums[0][c] += sums[t][c];
    for (int64_t k = 0; k < rows * rows; ++k) products[0][k] += products[t][k];
  }
  mean.resize(C);
  for (int64_t c = 0; c < C; ++c) {
    off[c] = sums[0][c] / P;
    mean[c] = pivot[c] + off[c];
  }
  covariance.resize(C * C);
  for (int64_t i = 0; i < C; ++i) {
    for (int64_t j = i; j < C; ++j)
      covariance[i * C + j] = covariance[j * C + i] = products[0][j * rows + i] / P - off[i] * off[j];
  }
}

std::vector<Moments> forward(const Work& work, float* y) {
  const Plan plan(work, false);
  const Packed packed(plan, false);
  const Shape& s = plan.shape;
  const int64_t pixels = s.H_out * s.W_out;
  std::vector<std::vector<Moments>> moments(kParts, std::vector<Moments>(s.out));
  each_part<Walk>(
      s.N,
      [&](Walk& walk, int64_t part, int64_t begin, int64_t end) {
        each_group(begin, end, plan.grid.images, [&](int64_t first, int64_t last) {
          walk.start(first, last);
          walk.forward(y);
          for (int64_t n = first; n < last; ++n) {
            for (int64_t o = 0; o < s.out; ++o) moments[part][o].add(y + (n * s.out + o) * pixels, pixels);
          }
        });
      },
      plan, packed, false);
  for (int64_t t = 1; t < kParts; ++t) {
    for (int64_t o = 0; o < s.out; ++o) moments[0][o].add(moments[t][o]);
  }
  return moments[0];
}

Gradients backward(const Work& work, const float* dz, const float* y, const Affine& dy, float* dx) {
  const Plan plan(work, true);
  const Packed packed(plan, true);
  const Shape& s = plan.shape;
  std::vector<Sums> parts(std::min(kParts, s.N));
  for (Sums& sums : parts) {
    sums.project.resize(plan.out_rows * s.hidden), sums.expand.resize(plan.in_rows * s.hidden);
    sums.sums.resize(s.hidden), sums.corners.resize(work.corners.empty() ? 0 : 4 * s.hidden);
    sums.removal.resize(work.measures ? s.hidden : 0);
  }
  each_part<Walk>(
      s.N,
      [&](Walk& walk, int64_t part, int64_t begin, int64_t end) {
        each_group(begin, end, plan.grid.images, [&](int64_t first, int64_t last) {
          walk.start(first, last);
          walk.start_backward(dz, y, dy);
          walk.backward(parts[part], dx);
        });
        walk.take_lanes(parts[part].sums);
      },
      plan, packed, true);
  return {total(parts, &Sums::project, plan.out_rows, s.out, plan.order),
          total(parts, &Sums::expand, plan.in_rows, s.width, plan.order),
          total(parts, &Sums::sums, plan.order), total(parts, &Sums::corners, plan.order),
          total(parts, &Sums::removal, plan.order)};
}

void finish_gradient(const Work& work, const std::vector<float>& correction, const std::vector<float>& bias,
                     const float* dz, bool residual, float* dx) {
  const Shape& s = work.shape;
  const int64_t C = s.width, pixels = s.H * s.W;
  const int height = fewshift::kernels().planar_height;
  AlignedFloats packed(round_up(C, height) * C);
  pack_planar(correction.data(), C, C, C, 1, height, packed.data());
  each_part<Inputs>(
      s.N,
      [&](Inputs& inputs, int64_t, int64_t begin, int64_t end) {
        each_group(begin, end, inputs.planes.images, [&](int64_t first, int64_t last) {
          inputs.start(first, last, work.centre.data(), nullptr);
          for (int64_t n = first; n < last; ++n) {
            for (int64_t c = 0; c < C; ++c) {
              float* const to = inputs.dx + inputs.place(n - first, c);
              const int64_t at = (n * s.channels + s.first + c) * pixels;
              if (residual) {
                pack_plane(dx + at, dz + at, inputs.pixels(), inputs.planes, 1.0f, 1.0f, 0.0f, bias[c], to);
              } else {
                pack_plane(dx + at, inputs.pixels(), inputs.planes, 1.0f, bias[c], to);
              }
            }
          }
          inputs.correct(packed.data());
          for (int64_t n = first; n < last; ++n) {
            std::copy_n(dz + n * s.channels * pixels, s.first * pixels, dx + n * s.channels * pixels);
            for (int64_t c = 0; c < C; ++c)
              unpack_plane(inputs.dx + inputs.place(n - first, c), inputs.planes, inputs.pixels(),
                           dx + (n * s.channels + s.first + c) * pixels);
          }
        });
      },
      work);
}

}  // namespace fewshift::bottleneck
