// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_pass.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace fewshift::bottleneck {
namespace {

using Ending = PlanarProduct::Ending;

constexpr int64_t kHiddenBytes = 256 * 1024;  // of hidden channels' planes, in the second cache
constexpr int64_t kNarrowBytes = 96 * 1024;   // of one narrow map's planes, beside them
constexpr int64_t kPixels = 1024;             // of a group of images: enough for long sums

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// All that does not depend on the images.
struct Plan {
  explicit Plan(const Work& w)
      : shape(w.shape),
        kernels(fewshift::kernels()),
        height(kernels.planar_height),
        threads(std::min<int64_t>(at::get_num_threads(), w.shape.N)),
        direct(shape.stride == 1 &&
               std::all_of(w.taps.begin(), w.taps.end(), [](const Taps& t) { return t.size() == 1; })),
        in_rows(round_up(shape.width, height)),
        out_rows(round_up(shape.out, height)),
        hidden_rows(round_up(shape.hidden, height)),
        group(images_together(w.shape, threads)),
        in(make_planes(w)),
        small(group, shape.H_out, shape.W_out, 0, 0, kernels.lanes, true),
        out(shape.stride == 1 ? in : small) {
    const int64_t maps = direct ? 2 : 4;
    const int64_t most =
        std::max(kHiddenBytes / (maps * in.wide_floats * 4) / height * height, int64_t{height});
    const int64_t chunks = (hidden_rows + most - 1) / most;
    chunk = round_up((hidden_rows + chunks - 1) / chunks, height);
  }

  static int64_t images_together(const Shape& s, int64_t threads) {
    const int64_t pixels = s.H * s.W, most = std::max(s.width, s.out) * pixels * 4;
    const int64_t few = std::clamp<int64_t>(std::min(kPixels / pixels, kNarrowBytes / most), 1, s.N);
    const int64_t groups = round_up((s.N + few - 1) / few, threads);  // alike for each thread
    return (s.N + groups - 1) / groups;
  }
  Planes make_planes(const Work& w) const {
    int64_t y = 0, x = 0;
    auto look = [&](const Tap& tap) { y = std::max(y, std::abs(tap.y)), x = std::max(x, std::abs(tap.x)); };
    for (const Taps& taps : w.taps) std::for_each(taps.begin(), taps.end(), look);
    for (const auto& corners : w.corners) std::for_each(corners.begin(), corners.end(), look);
    if (shape.stride == 2 && w.taps[0].size() == 4 && x == 1 && y == 1) {  // a pool's windows, or a shift's
      const auto inside = [](const Tap& tap) { return tap.y >= 0 && tap.x >= 0; };
      bool all = w.corners.empty() && shape.H % 2 == 0 && shape.W % 2 == 0;
      for (const Taps& taps : w.taps) all &= std::all_of(taps.begin(), taps.end(), inside);
      if (all) y = x = 0;
    }
    return Planes(group, shape.H, shape.W, y, x, kernels.lanes);
  }

  int64_t groups() const { return (shape.N + group - 1) / group; }
  int64_t offset(const Tap& tap) const { return tap.y * in.pitch + tap.x; }

  Shape shape;
  const Kernels& kernels;
  int height;
  int64_t threads;
  bool direct;  // shifts by whole pixels, stride 1: nothing stands between the hidden map and its readers
  int64_t in_rows, out_rows, hidden_rows;  // channels, rounded up
  int64_t group;                           // images
  Planes in, small;
  const Planes& out;
  int64_t chunk = 0;  // hidden channels at a time
};

// f(thread, first group, last group + 1), a thread's share each.
template <class F>
void each_thread(const Plan& plan, F f) {
  const int64_t groups = plan.groups();
  at::parallel_for(0, plan.threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) f(t, t * groups / plan.threads, (t + 1) * groups / plan.threads);
  });
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

std::vector<int32_t> strided(int64_t count, int64_t step) {
  std::vector<int32_t> offsets(count);
  for (int64_t k = 0; k < count; ++k) offsets[k] = static_cast<int32_t>(k * step);
  return offsets;
}

// Weights as the kernels read them, and offsets, for all hidden channels, chunk by chunk.
struct Packed {
  Packed(const Work& w, const Plan& plan, bool backward) {
    const Shape& s = plan.shape;
    const int height = plan.height;
    expand.resize(plan.hidden_rows * s.width);
    pack_planar(w.expand.data(), s.hidden, s.width, s.width, 1, height, expand.data());
    bias = w.bias;
    bias.resize(plan.hidden_rows, 0.0f);
    project.resize(plan.out_rows * s.hidden);
    if (backward) {
      expand_back.resize(plan.in_rows * s.hidden);
      project_back.resize(plan.hidden_rows * s.out);
      pack_planar(w.project.data(), s.hidden, s.out, 1, s.hidden, height, project_back.data());
    }
    for (int64_t m = 0; m < s.hidden; m += plan.chunk) {
      const int64_t count = std::min(plan.chunk, s.hidden - m);
      pack_planar(w.project.data() + m, s.out, count, s.hidden, 1, height, &project[plan.out_rows * m]);
      if (backward)
        pack_planar(w.expand.data() + m * s.width, s.width, count, 1, s.width, height,
                    &expand_back[plan.in_rows * m]);
    }
    still = strided(plan.hidden_rows, plan.in.wide_floats);
    moved = back = still;
    for (int64_t m = 0; m < plan.hidden_rows; ++m) {
      const int64_t place = m % plan.chunk * plan.in.wide_floats;
      const int64_t offset = plan.direct && m < s.hidden ? plan.offset(w.taps[m][0]) : 0;
      still[m] = static_cast<int32_t>(place);
      moved[m] = static_cast<int32_t>(place + offset);
      back[m] = static_cast<int32_t>(place - offset);
    }
    sampled = strided(plan.chunk, plan.out.narrow_floats);
    inputs = strided(plan.in_rows, plan.in.narrow_floats);
    outputs = strided(plan.out_rows, plan.out.narrow_floats);
  }
  AlignedFloats expand, expand_back, project, project_back;
  std::vector<float> bias;
  std::vector<int32_t> still, moved, back;  // of hidden channels in their chunk; `back`: against the shift
  std::vector<int32_t> sampled, inputs, outputs;
};

// One thread's walk over groups of images.
class Walk {
 public:
  Walk(const Work& work, const Plan& plan, const Packed* packed, bool backward)
      : w_(work), p_(plan), packed_(packed), s_(plan.shape), memory_(floats(plan, packed, backward)) {
    x_ = memory_.take(p_.in_rows * p_.in.narrow_floats);
    if (!packed) return;
    y_ = memory_.take(p_.out_rows * p_.out.narrow_floats);
    a_ = memory_.take(p_.chunk * p_.in.wide_floats);
    if (!p_.direct) z_ = memory_.take(p_.chunk * p_.out.narrow_floats);
    if (!p_.direct) sample_places();
    if (!backward) return;
    dx_ = memory_.take(p_.in_rows * p_.in.narrow_floats);
    g_ = memory_.take(p_.chunk * p_.in.wide_floats);
    sums_ = memory_.take(p_.hidden_rows * p_.kernels.lanes);
    if (p_.direct) return;
    da_ = memory_.take(p_.chunk * p_.in.wide_floats);
    if (s_.stride == 2) d_ = memory_.take(p_.chunk * p_.out.narrow_floats);
  }

  void start(int64_t group) {
    first_ = group * p_.group;
    images_ = std::min(p_.group, s_.N - first_);
    in_vectors_ = images_ * p_.in.image_vectors;
    out_vectors_ = images_ * p_.out.image_vectors;
  }
  int64_t first() const { return first_; }
  int64_t images() const { return images_; }
  float* x() const { return x_; }
  float* dx() const { return dx_; }

  const float* input(int64_t n, int64_t c) const {
    return w_.x + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W;
  }
  // x - centre; sums, if given, get what was written.
  void pack_input(const float* centre, double* sums) {
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t c = 0; c < s_.width; ++c) {
        const double sum = pack_plane(input(n, c), p_.in, 1.0f, -centre[c],
                                      x_ + c * p_.in.narrow_floats + n * p_.in.narrow_image);
        if (sums) sums[c] += sum;
      }
    }
  }
  void pack_output(const float* dz, const float* y, const std::vector<float>& a, const std::vector<float>& b,
                   const std::vector<float>& c) {
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t o = 0; o < s_.out; ++o) {
        const int64_t image = first_ + n, pixels = s_.H_out * s_.W_out;
        pack_plane(dz + (image * (s_.first + s_.out) + s_.first + o) * pixels,
                   y + (image * s_.out + o) * pixels, p_.out, a[o], b[o], c[o],
                   y_ + o * p_.out.narrow_floats + n * p_.out.narrow_image);
      }
    }
  }
  void unpack(const float* planes, const Planes& layout, int64_t channels, float* to) const {
    const int64_t pixels = layout.height * layout.width;
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t c = 0; c < channels; ++c)
        unpack_plane(planes + c * layout.narrow_floats + n * layout.narrow_image, layout,
                     to + ((first_ + n) * channels + c) * pixels);
    }
  }

  // covariance[i * in_rows + j] += for j from i's row of tiles on.
  void gram(float* sums) const {
    for (int64_t i = 0; i < p_.in_rows; i += p_.height) {
      PlanarDots dots;
      dots.a = x_ + i * p_.in.narrow_floats, dots.a_plane = p_.in.narrow_floats;
      dots.a_vectors = dots.b_vectors = p_.in.narrow.data();
      const std::vector<int32_t> offsets = strided(p_.in_rows, p_.in.narrow_floats);
      dots.b = x_, dots.b_offsets = offsets.data() + i;
      dots.out = sums + i * p_.in_rows + i, dots.out_row = p_.in_rows;
      dots.rows = p_.height, dots.columns = s_.width - i, dots.vectors = in_vectors_;
      p_.kernels.planar_dots(dots);
    }
  }

  // Of hidden channels [m, m + chunk): relu(expand), and, if sampled, what its readers see.
  void produce(int64_t m) {
    m_ = m;
    count_ = std::min(p_.chunk, s_.hidden - m);
    PlanarProduct product;
    product.ending = Ending::kRelu;
    product.x = x_, product.x_offsets = packed_->inputs.data(), product.x_vectors = p_.in.narrow.data();
    product.weights = packed_->expand.data() + m * s_.width, product.bias = packed_->bias.data() + m;
    product.y = a_, product.y_plane = p_.in.wide_floats, product.y_vectors = p_.in.wide.data();
    product.masks = p_.in.masks.empty() ? nullptr : p_.in.masks.data();
    product.inputs = s_.width, product.outputs = round_up(count_, p_.height), product.vectors = in_vectors_;
    p_.kernels.planar_product(product);
    if (p_.direct) return;
    for (int64_t k = 0; k < count_; ++k) {
      PlanarSample sample;
      sample.x = a_ + k * p_.in.wide_floats, sample.x_runs = x_runs_.data();
      sample.y = z_ + k * p_.out.narrow_floats, sample.y_runs = y_runs_.data();
      sample.runs = images_ * image_runs_;
      sample.stride = static_cast<int>(s_.stride);
      fill(sample, w_.taps[m + k], 1);
      p_.kernels.planar_sample(sample);
    }
  }

  // y += project * what the spatial operator gives.
  void project() const {
    PlanarProduct product;
    product.x = p_.direct ? a_ : z_;
    product.x_offsets = p_.direct ? packed_->moved.data() + m_ : packed_->sampled.data();
    product.x_vectors = p_.direct ? p_.in.wide.data() : p_.out.narrow.data();
    product.weights = packed_->project.data() + p_.out_rows * m_;
    product.adds = m_ > 0;
    product.y = y_, product.y_plane = p_.out.narrow_floats, product.y_vectors = p_.out.narrow.data();
    product.inputs = count_, product.outputs = p_.out_rows, product.vectors = out_vectors_;
    p_.kernels.planar_product(product);
  }

  const float* output() const { return y_; }

  // The chunk's gradients, from dy and the hidden activation.
  void differentiate(float* project, float* expand, double* corners, double* removal) {
    PlanarDots dots;
    dots.a = y_, dots.a_plane = p_.out.narrow_floats, dots.a_vectors = p_.out.narrow.data();
    dots.b = p_.direct ? a_ : z_;
    dots.b_offsets = p_.direct ? packed_->moved.data() + m_ : packed_->sampled.data();
    dots.b_vectors = p_.direct ? p_.in.wide.data() : p_.out.narrow.data();
    dots.out = project + m_, dots.out_row = p_.hidden_rows;
    dots.rows = p_.out_rows, dots.columns = count_, dots.vectors = out_vectors_;
    p_.kernels.planar_dots(dots);

    const float* gradient =
        p_.direct ? shifted_gradient(corners, removal) : sampled_gradient(corners, removal);
    const int32_t* offsets = (p_.direct ? packed_->back : packed_->still).data() + m_;

    dots.a = x_, dots.a_plane = p_.in.narrow_floats, dots.a_vectors = p_.in.narrow.data();
    dots.b = gradient, dots.b_offsets = offsets, dots.b_vectors = p_.in.wide.data();
    dots.out = expand + m_, dots.rows = p_.in_rows, dots.vectors = in_vectors_;
    p_.kernels.planar_dots(dots);

    PlanarProduct product;
    product.x = gradient, product.x_offsets = offsets, product.x_vectors = p_.in.wide.data();
    product.weights = packed_->expand_back.data() + p_.in_rows * m_;
    product.adds = m_ > 0;
    product.y = dx_, product.y_plane = p_.in.narrow_floats, product.y_vectors = p_.in.narrow.data();
    product.inputs = count_, product.outputs = p_.in_rows, product.vectors = in_vectors_;
    p_.kernels.planar_product(product);
  }

  // dx += correction * x.
  void correct(const float* packed, const int32_t* inputs) const {
    PlanarProduct product;
    product.x = x_, product.x_offsets = inputs, product.x_vectors = p_.in.narrow.data();
    product.weights = packed, product.adds = true;
    product.y = dx_, product.y_plane = p_.in.narrow_floats, product.y_vectors = p_.in.narrow.data();
    product.inputs = s_.width, product.outputs = p_.in_rows, product.vectors = in_vectors_;
    p_.kernels.planar_product(product);
  }
  void take_dx() { dx_ = memory_.take(p_.in_rows * p_.in.narrow_floats); }

  void add_sums(double* sums) const {
    for (int64_t m = 0; m < s_.hidden; ++m) {
      for (int lane = 0; lane < p_.kernels.lanes; ++lane) sums[m] += sums_[m * p_.kernels.lanes + lane];
    }
  }

 private:
  static int64_t floats(const Plan& p, const Packed* packed, bool backward) {
    const int64_t in = p.in_rows * p.in.narrow_floats, out = p.out_rows * p.out.narrow_floats,
                  wide = p.chunk * p.in.wide_floats, small = p.direct ? 0 : p.chunk * p.out.narrow_floats;
    if (!packed) return 2 * in + 64;
    if (!backward) return in + out + wide + small + 128;
    return 2 * in + out + (p.direct ? 2 : 3) * wide + 2 * small + p.hidden_rows * p.kernels.lanes + 256;
  }

  void sample_places() {
    const int lanes = p_.kernels.lanes;
    const int64_t runs = (s_.W_out + lanes - 1) / lanes;
    image_runs_ = s_.H_out * runs;
    for (int64_t n = 0; n < p_.group; ++n) {
      for (int64_t i = 0; i < s_.H_out; ++i) {
        for (int64_t r = 0; r < runs; ++r) {
          x_runs_.push_back(static_cast<int32_t>(p_.in.origin + n * p_.in.wide_image +
                                                 s_.stride * (i * p_.in.pitch + r * lanes)));
          y_runs_.push_back(
              static_cast<int32_t>(n * p_.out.narrow_image + i * p_.out.narrow_row + r * lanes));
        }
      }
    }
  }

  void fill(PlanarSample& sample, const Taps& taps, int sign) const {
    sample.taps = static_cast<int>(taps.size());
    for (size_t t = 0; t < taps.size(); ++t) {
      sample.offsets[t] = static_cast<int32_t>(sign * p_.offset(taps[t]));
      sample.weights[t] = taps[t].weight;
    }
  }

  // The product that makes the gradient at the spatial operator's output, up to where it goes.
  PlanarProduct gradient_product(int64_t vectors) const {
    PlanarProduct product;
    product.x = y_, product.x_offsets = packed_->outputs.data(), product.x_vectors = p_.out.narrow.data();
    product.weights = packed_->project_back.data() + m_ * s_.out;
    product.inputs = s_.out, product.outputs = round_up(count_, p_.height), product.vectors = vectors;
    product.y = g_, product.y_plane = p_.in.wide_floats, product.y_vectors = p_.in.wide.data();
    return product;
  }

  // Correlations of the gradient g_ with the hidden activation; a gate, if there is one, by the shift.
  void correlate(double* corners, double* removal, bool gated) {
    for (int64_t k = 0; k < count_; ++k) {
      const int64_t m = m_ + k;
      PlanarTaps taps;
      taps.z = a_ + k * p_.in.wide_floats;
      taps.taps = removal ? 6 : corners ? 4 : 0;
      for (int t = 0; corners && t < 4; ++t)
        taps.offsets[t] = static_cast<int32_t>(p_.offset(w_.corners[m][t]));
      const int32_t shift = static_cast<int32_t>(p_.offset(w_.taps[m][0]));
      taps.offsets[5] = shift;
      taps.gated = gated, taps.gate = shift;
      const int64_t each = removal ? p_.in.image_vectors : in_vectors_;
      for (int64_t v = 0; v < in_vectors_; v += each) {
        taps.g = g_ + k * p_.in.wide_floats, taps.g_vectors = p_.in.wide.data() + v;
        taps.z_vectors = p_.in.wide.data() + v, taps.vectors = each;
        p_.kernels.planar_taps(taps);
        for (int t = 0; corners && t < 4; ++t) corners[t * s_.hidden + m] += taps.dots[t];
        if (removal) removal[m] += (taps.dots[4] - taps.dots[5]) * (taps.dots[4] - taps.dots[5]);
        if (gated) sums_[m * p_.kernels.lanes] += static_cast<float>(taps.sum);
      }
    }
  }

  const float* shifted_gradient(double* corners, double* removal) {
    PlanarProduct product = gradient_product(in_vectors_);
    if (!corners && !removal) {
      product.ending = Ending::kMask;
      product.gate = a_, product.gate_offsets = packed_->moved.data() + m_;
      product.gate_vectors = p_.in.wide.data();
      product.sums = sums_ + m_ * p_.kernels.lanes;
    }
    p_.kernels.planar_product(product);
    if (corners || removal) correlate(corners, removal, true);
    return g_;
  }

  const float* sampled_gradient(double* corners, double* removal) {
    PlanarProduct product = gradient_product(out_vectors_);
    if (s_.stride == 2) {
      product.y = d_, product.y_plane = p_.out.narrow_floats, product.y_vectors = p_.out.narrow.data();
    }
    p_.kernels.planar_product(product);
    for (int64_t k = 0; s_.stride == 2 && k < count_; ++k) {
      PlanarSpread spread;
      spread.x = d_ + k * p_.out.narrow_floats, spread.x_runs = y_runs_.data();
      spread.y = g_ + k * p_.in.wide_floats, spread.y_runs = x_runs_.data();
      spread.runs = images_ * image_runs_;
      p_.kernels.planar_spread(spread);
    }
    if (corners || removal) correlate(corners, removal, false);
    for (int64_t k = 0; k < count_; ++k) {
      PlanarSample sample;
      sample.x = g_ + k * p_.in.wide_floats, sample.x_runs = p_.in.wide.data();
      sample.y = da_ + k * p_.in.wide_floats, sample.y_runs = p_.in.wide.data();
      sample.runs = in_vectors_;
      fill(sample, w_.taps[m_ + k], -1);
      p_.kernels.planar_sample(sample);
      PlanarTaps gate;
      gate.g = sample.y, gate.z = a_ + k * p_.in.wide_floats;
      gate.g_vectors = gate.z_vectors = p_.in.wide.data();
      gate.vectors = in_vectors_, gate.gated = true;
      p_.kernels.planar_taps(gate);
      sums_[(m_ + k) * p_.kernels.lanes] += static_cast<float>(gate.sum);
    }
    return da_;
  }

  const Work& w_;
  const Plan& p_;
  const Packed* packed_;
  const Shape& s_;
  Memory memory_;
  float *x_ = nullptr, *y_ = nullptr, *a_ = nullptr, *z_ = nullptr, *dx_ = nullptr, *g_ = nullptr,
        *sums_ = nullptr, *da_ = nullptr, *d_ = nullptr;
  std::vector<int32_t> x_runs_, y_runs_;  // from the hidden map to what its readers see
  int64_t image_runs_ = 0;
  int64_t first_ = 0, images_ = 0, in_vectors_ = 0, out_vectors_ = 0;
  int64_t m_ = 0, count_ = 0;
};

// [rows][row] of floats from each thread, summed in the threads' order into [rows][columns].
std::vector<double> total(const std::vector<std::vector<float>>& parts, int64_t rows, int64_t columns,
                          int64_t row, bool transposed) {
  std::vector<double> sum(rows * columns, 0.0);
  for (const auto& part : parts) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j)
        sum[transposed ? j * rows + i : i * columns + j] += part[i * row + j];
    }
  }
  return sum;
}

void add(std::vector<double>& to, const std::vector<double>& more) {
  for (size_t k = 0; k < to.size(); ++k) to[k] += more[k];
}

}  // namespace

void input_moments(const Work& work, std::vector<double>& mean, std::vector<double>& covariance) {
  const Plan plan(work);
  const Shape& s = plan.shape;
  const int64_t C = s.width, rows = plan.in_rows, pixels = s.H * s.W;
  std::vector<float> pivot(C);  // near the mean, so that squares lose nothing
  for (int64_t c = 0; c < C; ++c) {
    Moments first;
    first.add(work.x + (s.first + c) * pixels, pixels);
    pivot[c] = static_cast<float>(first.mean);
  }
  std::vector<std::vector<double>> sums(plan.threads, std::vector<double>(C)),
      products(plan.threads, std::vector<double>(rows * rows));
  each_thread(plan, [&](int64_t t, int64_t begin, int64_t end) {
    Walk walk(work, plan, nullptr, false);
    std::vector<float> some(rows * rows);
    for (int64_t g = begin; g < end; ++g) {
      walk.start(g);
      walk.pack_input(pivot.data(), sums[t].data());
      std::fill(some.begin(), some.end(), 0.0f);
      walk.gram(some.data());
      for (int64_t k = 0; k < rows * rows; ++k) products[t][k] += some[k];
    }
  });
  const double P = static_cast<double>(s.N * pixels);
  std::vector<double> off(C);
  for (int64_t t = 1; t < plan.threads; ++t) add(sums[0], sums[t]), add(products[0], products[t]);
  mean.resize(C);
  for (int64_t c = 0; c < C; ++c) {
    off[c] = sums[0][c] / P;
    mean[c] = pivot[c] + off[c];
  }
  covariance.resize(C * C);
  for (int64_t i = 0; i < C; ++i) {
    for (int64_t j = i; j < C; ++j)
      covariance[i * C + j] = covariance[j * C + i] = products[0][i * rows + j] / P - off[i] * off[j];
  }
}

std::vector<Moments> forward(const Work& work, float* y) {
  const Plan plan(work);
  const Packed packed(work, plan, false);
  const Shape& s = plan.shape;
  const int64_t pixels = s.H_out * s.W_out;
  std::vector<std::vector<Moments>> moments(plan.threads, std::vector<Moments>(s.out));
  each_thread(plan, [&](int64_t t, int64_t begin, int64_t end) {
    Walk walk(work, plan, &packed, false);
    for (int64_t g = begin; g < end; ++g) {
      walk.start(g);
      walk.pack_input(work.centre.data(), nullptr);
      for (int64_t m = 0; m < s.hidden; m += plan.chunk) {
        walk.produce(m);
        walk.project();
      }
      walk.unpack(walk.output(), plan.out, s.out, y);
      for (int64_t n = 0; n < walk.images(); ++n) {
        for (int64_t o = 0; o < s.out; ++o)
          moments[t][o].add(y + ((walk.first() + n) * s.out + o) * pixels, pixels);
      }
    }
  });
  for (int64_t t = 1; t < plan.threads; ++t) {
    for (int64_t o = 0; o < s.out; ++o) moments[0][o].add(moments[t][o]);
  }
  return moments[0];
}

Gradients backward(const Work& work, const float* dz, const float* y, const std::vector<float>& a,
                   const std::vector<float>& b, const std::vector<float>& c, float* dx) {
  const Plan plan(work);
  const Packed packed(work, plan, true);
  const Shape& s = plan.shape;
  const bool learns = !work.corners.empty();
  const int64_t threads = plan.threads, row = plan.hidden_rows;
  std::vector<std::vector<float>> project(threads), expand(threads);
  std::vector<std::vector<double>> sums(threads, std::vector<double>(s.hidden)),
      corners(threads, std::vector<double>(learns ? 4 * s.hidden : 0)),
      removal(threads, std::vector<double>(work.measures ? s.hidden : 0));
  each_thread(plan, [&](int64_t t, int64_t begin, int64_t end) {
    project[t].resize(plan.out_rows * row);
    expand[t].resize(plan.in_rows * row);
    Walk walk(work, plan, &packed, true);
    for (int64_t g = begin; g < end; ++g) {
      walk.start(g);
      walk.pack_input(work.centre.data(), nullptr);
      walk.pack_output(dz, y, a, b, c);
      for (int64_t m = 0; m < s.hidden; m += plan.chunk) {
        walk.produce(m);
        walk.differentiate(project[t].data(), expand[t].data(), learns ? corners[t].data() : nullptr,
                           work.measures ? removal[t].data() : nullptr);
      }
      walk.unpack(walk.dx(), plan.in, s.width, dx);
    }
    walk.add_sums(sums[t].data());
  });
  for (int64_t t = 1; t < threads; ++t) {
    add(sums[0], sums[t]), add(corners[0], corners[t]), add(removal[0], removal[t]);
  }
  return {total(project, s.out, s.hidden, row, false), total(expand, s.width, s.hidden, row, true), sums[0],
          corners[0], removal[0]};
}

void finish_gradient(const Work& work, const float* part, const std::vector<float>& correction,
                     const std::vector<float>& bias, const float* dz, bool residual, float* dx) {
  const Plan plan(work);
  const Shape& s = plan.shape;
  const int64_t C = s.width, pixels = s.H * s.W;
  AlignedFloats packed(plan.in_rows * C);
  pack_planar(correction.data(), C, C, C, 1, plan.height, packed.data());
  const std::vector<int32_t> inputs = strided(plan.in_rows, plan.in.narrow_floats);
  each_thread(plan, [&](int64_t, int64_t begin, int64_t end) {
    Walk walk(work, plan, nullptr, false);
    walk.take_dx();
    for (int64_t g = begin; g < end; ++g) {
      walk.start(g);
      walk.pack_input(work.centre.data(), nullptr);
      for (int64_t n = 0; n < walk.images(); ++n) {
        for (int64_t c = 0; c < C; ++c) {
          float* const to = walk.dx() + c * plan.in.narrow_floats + n * plan.in.narrow_image;
          const float* const from = part + ((walk.first() + n) * C + c) * pixels;
          const float* const more = dz + ((walk.first() + n) * s.channels + s.first + c) * pixels;
          if (residual) {
            pack_plane(from, more, plan.in, 1.0f, 1.0f, bias[c], to);
          } else {
            pack_plane(from, plan.in, 1.0f, bias[c], to);
          }
        }
      }
      walk.correct(packed.data(), inputs.data());
      for (int64_t n = 0; n < walk.images(); ++n) {
        float* const to = dx + (walk.first() + n) * s.channels * pixels;
        if (s.first > 0) std::copy_n(dz + (walk.first() + n) * s.channels * pixels, s.first * pixels, to);
        for (int64_t c = 0; c < C; ++c)
          unpack_plane(walk.dx() + c * plan.in.narrow_floats + n * plan.in.narrow_image, plan.in,
                       to + (s.first + c) * pixels);
      }
    }
  });
}

}  // namespace fewshift::bottleneck
