// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_walk.h"

#include <algorithm>
#include <cmath>

namespace fewshift::bottleneck {

using Ending = PlanarProduct::Ending;

Walk::Walk(const Plan& plan, const Packed& packed, bool backward)
    : p_(plan), packed_(packed), s_(plan.shape), g_(plan.grid), memory_(floats(plan, backward)) {
  x_ = memory_.take(s_.phases() * p_.in_rows * g_.narrow_floats);
  y_ = memory_.take(p_.out_rows * g_.narrow_floats);
  a_ = memory_.take(p_.phases_held() * p_.chunk * g_.wide_floats);
  if (!p_.direct) z_ = memory_.take(p_.chunk * g_.narrow_floats);
  ones_ = memory_.take(g_.wide_floats);
  if (!backward) return;
  dx_ = memory_.take(s_.phases() * p_.in_rows * g_.narrow_floats);
  dh_ = memory_.take(p_.chunk * g_.wide_floats);
  lanes_ = memory_.take(p_.hidden_rows * p_.kernels.lanes);
  x_dots_ = p_.pairs() ? memory_.take(s_.phases() * p_.in_rows * p_.dots_floats()) : x_;
  y_dots_ = p_.pairs() ? memory_.take(p_.out_rows * p_.dots_floats()) : y_;
  if (!p_.direct) da_ = memory_.take(p_.chunk * g_.wide_floats);
}

void Walk::start(int64_t first, int64_t end) {
  first_ = first, images_ = end - first;
  vectors_ = images_ * g_.image_vectors;
  for (int64_t n = 0; n < images_; ++n) {
    for (int64_t phase = 0; phase < s_.phases(); ++phase) {
      for (int64_t c = 0; c < s_.width; ++c)
        pack_plane(p_.w.x + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W + p_.first_pixel(phase),
                   p_.pixels(phase), g_, 1.0f, -p_.w.centre[c], input(phase, c) + n * g_.narrow_image);
    }
  }
  round(x_, s_.phases() * p_.in_rows * g_.narrow_floats);
  if (x_dots_) pair(x_, s_.phases() * p_.in_rows, x_dots_);
  std::fill_n(written_, 4, false);
}

void Walk::start_backward(const float* dz, const float* y, const OutputGradient& dy, bool residual,
                          float* dx) {
  const int64_t pixels = s_.H_out * s_.W_out;
  dx_place_ = p_.dx_in_place ? dx + (first_ * s_.channels + s_.first) * pixels : dx_;
  written_[0] = residual;
  for (int64_t n = 0; n < images_; ++n) {
    for (int64_t o = 0; o < s_.out; ++o) {
      const int64_t image = first_ + n;
      pack_plane(dz + (image * (s_.first + s_.out) + s_.first + o) * pixels,
                 y + (image * s_.out + o) * pixels, p_.out_pixels(), g_, dy.a[o], dy.b[o], dy.centre[o],
                 dy.c[o], y_ + o * g_.narrow_floats + n * g_.narrow_image);
      if (!residual) continue;
      const float* const from = dz + (image * s_.channels + s_.first + o) * pixels;
      if (p_.dx_in_place) {
        std::copy_n(from, pixels, dx_place_ + (n * s_.channels + o) * pixels);
      } else {
        pack_plane(from, p_.out_pixels(), g_, 1.0f, 0.0f, dx_ + o * g_.narrow_floats + n * g_.narrow_image);
      }
    }
  }
  round(y_, p_.out_rows * g_.narrow_floats);
  pair(y_, p_.out_rows, y_dots_);
}

void Walk::forward(float* y) {
  const int64_t pixels = s_.H_out * s_.W_out;
  for (const Chunk& chunk : p_.chunks) {
    produce(chunk);
    if (p_.w.kept) p_.kernels.planar_keep(kept(chunk));
    sample(chunk);
    PlanarProduct product = reader(chunk);
    product.weights = packed_.project.data() + p_.out_rows * chunk.begin;
    product.adds = chunk.begin > 0;
    product.y = p_.y_in_place ? y + first_ * s_.out * pixels : y_;
    product.y_plane = p_.y_in_place ? pixels : g_.narrow_floats;
    product.y_vectors = p_.y_in_place ? packed_.y_places.data() : g_.narrow.data();
    product.outputs = p_.out_rows;
    p_.kernels.planar_product(product);
  }
  if (p_.y_in_place) return;
  for (int64_t n = 0; n < images_; ++n) {
    for (int64_t o = 0; o < s_.out; ++o)
      unpack_plane(y_ + o * g_.narrow_floats + n * g_.narrow_image, g_, p_.out_pixels(),
                   y + ((first_ + n) * s_.out + o) * pixels);
  }
}

void Walk::backward(Sums& sums, float* dscale, float* dx) {
  for (const Chunk& chunk : p_.chunks) {
    produce(chunk);
    sample(chunk);
    const PlanarProduct hidden = reader(chunk);
    PlanarDots dots;
    dots.operands = p_.w.operands;
    dots.a = y_dots_, dots.a_plane = p_.dots_floats();
    dots.b = hidden.x, dots.b_offsets = hidden.x_offsets, dots.b_vectors = hidden.x_vectors;
    dots.b_half = hidden.x_half;
    dots.out = sums.project.data() + chunk.begin * p_.out_rows, dots.out_column = p_.out_rows;
    dots.rows = p_.out_rows, dots.columns = chunk.count, dots.vectors = vectors_;
    p_.kernels.planar_dots(dots);
    if (p_.direct) {
      shifted_gradient(chunk, sums);
      descend(chunk, chunk.phase, dh_, packed_.back.data() + chunk.row, sums);
    } else {
      PlanarProduct gradient = gradient_product(chunk);
      p_.kernels.planar_product(gradient);
      descend_from_readers(chunk, sums, dscale);
    }
  }
  if (p_.direct && p_.w.corner_count == 0 && !p_.w.measures) take_lanes(sums.sums);
  write_dx(dx);
}

void Walk::descend_from_readers(const Chunk& chunk, Sums& sums, float* dscale) {
  if (p_.w.corner_count > 0 || p_.w.measures || dscale) correlate(chunk, false, sums, dscale);
  for (int64_t phase = 0; phase < s_.phases(); ++phase) {
    unsample(chunk, phase, sums);
    round(da_, chunk.count * g_.wide_floats);
    descend(chunk, phase, da_, packed_.still.data() + chunk.row, sums);
  }
}

void Walk::pool(float* means) {
  const double pixels = static_cast<double>(s_.H_out * s_.W_out);
  for (const Chunk& chunk : p_.chunks) {
    produce(chunk);
    for (int64_t k = 0; k < chunk.count; ++k) {
      PlanarTaps t;
      t.g = ones(), t.z = a_ + k * g_.wide_floats;
      t.taps = p_.w.tap_count == 1 ? 4 : p_.w.tap_count;
      for (int i = 0; i < p_.w.tap_count; ++i) t.offsets[i] = p_.offset(taps(chunk, k)[i]);
      each_image(false, [&](int64_t v, int64_t vectors, int64_t n) {
        t.places = g_.wide.data() + v, t.half = g_.half, t.vectors = vectors;
        p_.kernels.planar_taps(t);
        double sum = 0;
        for (int i = 0; i < p_.w.tap_count; ++i) sum += taps(chunk, k)[i].weight * t.dots[i];
        means[(first_ + n) * s_.hidden + p_.order[chunk.begin + k]] = static_cast<float>(sum / pixels);
      });
    }
  }
}

void Walk::unpool(const float* dmeans, Sums& sums, float* dx) {
  dx_place_ = p_.dx_in_place ? dx + (first_ * s_.channels + s_.first) * s_.H * s_.W : dx_;
  const auto pixels = static_cast<float>(s_.H_out * s_.W_out);
  for (const Chunk& chunk : p_.chunks) {
    produce(chunk);
    for (int64_t k = 0; k < chunk.count; ++k) {
      each_image(false, [&](int64_t v, int64_t vectors, int64_t n) {
        PlanarSample fill;
        fill.x = ones(), fill.y = dh_ + k * g_.wide_floats;
        fill.x_vectors = fill.y_vectors = g_.wide.data() + v, fill.vectors = vectors;
        fill.x_half = fill.y_half = g_.half;
        fill.taps = 1;
        fill.weights[0] = dmeans[(first_ + n) * s_.hidden + p_.order[chunk.begin + k]] / pixels;
        p_.kernels.planar_sample(fill);
      });
    }
    if (p_.direct) {
      correlate(chunk, true, sums, nullptr);
      round(dh_, chunk.count * g_.wide_floats);
      descend(chunk, chunk.phase, dh_, packed_.back.data() + chunk.row, sums);
    } else {
      descend_from_readers(chunk, sums, nullptr);
    }
  }
  write_dx(dx);
}

float* Walk::ones() {
  if (ones_filled_) return ones_;
  ones_filled_ = true;
  const std::vector<float> masks = g_.masks(s_.H_out, s_.W_out);
  for (size_t v = 0; v < g_.wide.size(); ++v) {
    for (int lane = 0; lane < g_.lanes; ++lane)
      ones_[g_.wide[v] + lane + (lane < g_.lanes / 2 || g_.half == 0 ? 0 : g_.half - g_.lanes / 2)] =
          masks.empty() ? 1.0f : masks[v * g_.lanes + lane];
  }
  return ones_;
}

void Walk::write_dx(float* dx) {
  if (p_.dx_in_place) return;
  for (int64_t n = 0; n < images_; ++n) {
    for (int64_t phase = 0; phase < s_.phases(); ++phase) {
      if (!written_[phase]) std::fill_n(narrow(dx_, phase, 0), p_.in_rows * g_.narrow_floats, 0.0f);
      for (int64_t c = 0; c < s_.width; ++c)
        unpack_plane(narrow(dx_, phase, c) + n * g_.narrow_image, g_, p_.pixels(phase),
                     dx + ((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W + p_.first_pixel(phase));
    }
  }
}

void Walk::take_lanes(std::vector<double>& sums) {
  const int lanes = p_.kernels.lanes;
  for (const Chunk& chunk : p_.chunks) {
    for (int64_t k = 0; k < chunk.count; ++k) {
      for (int lane = 0; lane < lanes; ++lane)
        sums[chunk.begin + k] += lanes_[(chunk.row + k) * lanes + lane];
    }
  }
  std::fill_n(lanes_, p_.hidden_rows * lanes, 0.0f);
}

int64_t Walk::floats(const Plan& p, bool backward) {
  const int64_t phases = p.shape.phases(), in = phases * p.in_rows * p.grid.narrow_floats,
                out = p.out_rows * p.grid.narrow_floats, wide = p.chunk * p.grid.wide_floats,
                sampled = p.direct ? 0 : p.chunk * p.grid.narrow_floats;
  const int64_t forward = in + out + p.phases_held() * wide + sampled + p.grid.wide_floats;
  const int64_t pairs = p.pairs() ? (phases * p.in_rows + p.out_rows) * p.dots_floats() : 0;
  return forward + (backward ? in + (p.direct ? 1 : 2) * wide + p.hidden_rows * p.kernels.lanes + pairs : 0) +
         256;
}

void Walk::pair(const float* planes, int64_t rows, float* to) const {
  for (int64_t r = 0; p_.pairs() && r < rows; ++r)
    p_.kernels.planar_pair(planes + r * g_.narrow_floats, vectors_, to + r * p_.dots_floats());
}

float* Walk::narrow(float* planes, int64_t phase, int64_t c) const {
  return planes + (phase * p_.in_rows + c) * g_.narrow_floats;
}

PlanarCopy Walk::kept(const Chunk& chunk) const {
  PlanarCopy copy;
  copy.planes = a_, copy.plane = g_.wide_floats, copy.places = g_.wide.data(), copy.half = g_.half;
  copy.channels = chunk.count, copy.vectors = vectors_;
  copy.bf16 = p_.w.keeps_bf16;
  const int64_t at = (first_ * g_.image_vectors * s_.hidden + chunk.begin * vectors_) * p_.kernels.lanes;
  copy.kept = static_cast<char*>(p_.w.kept) + at * (copy.bf16 ? 2 : 4);
  return copy;
}

void Walk::produce(const Chunk& chunk) {
  const bool again = p_.w.kept && dx_;
  if (again) p_.kernels.planar_restore(kept(chunk));
  for (int64_t phase = 0; !again && phase < s_.phases(); ++phase) {
    if (!p_.every_phase && phase != chunk.phase) continue;
    PlanarProduct product;
    product.ending = Ending::kRelu, product.rounds = p_.w.bf16();
    product.operands = p_.w.operands;
    product.x = input(phase, 0), product.x_offsets = packed_.inputs.data();
    product.x_vectors = g_.narrow.data();
    product.weights = packed_.expand.data() + chunk.row * s_.width;
    product.bias = packed_.bias.data() + chunk.row;
    product.y = hidden(phase), product.y_plane = g_.wide_floats, product.y_vectors = g_.wide.data();
    product.y_half = g_.half;
    product.masks = p_.masks[phase].empty() ? nullptr : p_.masks[phase].data();
    product.inputs = s_.width, product.outputs = chunk.rows, product.vectors = vectors_;
    p_.kernels.planar_product(product);
  }
}

void Walk::sample(const Chunk& chunk) {
  for (int64_t k = 0; !p_.direct && k < chunk.count; ++k) {
    PlanarSample sample;
    sample.x = a_ + k * g_.wide_floats, sample.y = z_ + k * g_.narrow_floats;
    sample.taps = p_.w.tap_count;
    for (int t = 0; t < sample.taps; ++t) sample.offsets[t] = p_.offset(taps(chunk, k)[t]);
    each_image(true, [&](int64_t v, int64_t vectors, int64_t n) {
      sample.x_vectors = g_.wide.data() + v, sample.y_vectors = g_.narrow.data() + v, sample.x_half = g_.half,
      sample.vectors = vectors;
      for (int t = 0; t < sample.taps; ++t) sample.weights[t] = taps(chunk, k)[t].weight * scale(chunk, k, n);
      p_.kernels.planar_sample(sample);
    });
  }
  if (!p_.direct) round(z_, chunk.count * g_.narrow_floats);
}

PlanarProduct Walk::reader(const Chunk& chunk) const {
  PlanarProduct product;
  product.operands = p_.w.operands;
  product.x = p_.direct ? a_ : z_;
  product.x_offsets = p_.direct ? packed_.moved.data() + chunk.row : packed_.sampled.data();
  product.x_vectors = p_.direct ? g_.wide.data() : g_.narrow.data();
  product.x_half = p_.direct ? g_.half : 0;
  product.inputs = chunk.count, product.vectors = vectors_;
  return product;
}

PlanarProduct Walk::gradient_product(const Chunk& chunk) const {
  PlanarProduct product;
  product.operands = p_.w.operands, product.rounds = p_.w.bf16() && p_.direct;
  product.x = y_, product.x_offsets = packed_.outputs.data(), product.x_vectors = g_.narrow.data();
  product.weights = packed_.project_back.data() + chunk.row * s_.out;
  product.inputs = s_.out, product.outputs = chunk.rows, product.vectors = vectors_;
  product.y = dh_, product.y_plane = g_.wide_floats, product.y_vectors = g_.wide.data();
  product.y_half = g_.half;
  return product;
}

void Walk::shifted_gradient(const Chunk& chunk, Sums& sums) {
  PlanarProduct product = gradient_product(chunk);
  const bool learns = p_.w.measures || p_.w.corner_count > 0;
  if (!learns) {
    product.ending = Ending::kMask;
    product.gate = a_, product.gate_offsets = packed_.moved.data() + chunk.row;
    product.gate_vectors = g_.wide.data();
    product.sums = lanes_ + chunk.row * p_.kernels.lanes;
  }
  p_.kernels.planar_product(product);
  if (learns) correlate(chunk, true, sums, nullptr);
}

void Walk::correlate(const Chunk& chunk, bool gated, Sums& sums, float* dscale) {
  const int corners = p_.w.corner_count, tap_count = p_.w.tap_count;
  const bool measures = p_.w.measures;
  for (int64_t k = 0; k < chunk.count; ++k) {
    const int64_t m = chunk.begin + k;
    const Taps& read = taps(chunk, k);
    PlanarTaps t;
    t.g = dh_ + k * g_.wide_floats, t.z = a_ + k * g_.wide_floats;
    t.gate = p_.offset(read[0]), t.gated = gated;
    if (g_.width % g_.lanes == 0) {
      t.row_vectors = g_.width / g_.lanes, t.rows = g_.height, t.pitch = static_cast<int32_t>(g_.pitch);
    }
    if (tap_count == 1) {  // corners, the pixel itself, the tap
      t.taps = measures || dscale ? 6 : corners;
      for (int i = 0; i < corners; ++i) t.offsets[i] = p_.offset(p_.w.corners[p_.order[m]][i]);
      if (t.taps == 6) t.offsets[5] = t.gate;
    } else {  // taps, which are the corners
      t.taps = tap_count;
      for (int i = 0; i < tap_count; ++i) t.offsets[i] = p_.offset(read[i]);
    }
    each_image(!measures, [&](int64_t v, int64_t vectors, int64_t n) {
      const float factor = scale(chunk, k, n);
      t.places = g_.wide.data() + v, t.half = g_.half, t.vectors = vectors;
      p_.kernels.planar_taps(t);
      for (int i = 0; i < corners; ++i) sums.corners[i * s_.hidden + m] += factor * t.dots[i];
      if (measures) sums.removal[m] += std::pow(factor * (t.dots[4] - t.dots[5]), 2);
      if (gated) sums.sums[m] += t.sum;
      if (!dscale) return;
      double sum = tap_count == 1 ? t.dots[5] : 0;
      for (int i = 0; tap_count > 1 && i < tap_count; ++i) sum += read[i].weight * t.dots[i];
      dscale[(first_ + n) * s_.hidden + p_.order[m]] = static_cast<float>(sum);
    });
  }
}

void Walk::unsample(const Chunk& chunk, int64_t phase, Sums& sums) {
  for (int64_t k = 0; k < chunk.count; ++k) {
    PlanarSample sample;
    sample.x = dh_ + k * g_.wide_floats, sample.y = da_ + k * g_.wide_floats;
    Taps read{};
    for (int t = 0; t < p_.w.tap_count; ++t) {
      const Tap& tap = taps(chunk, k)[t];
      if (tap.phase != phase) continue;
      sample.offsets[sample.taps] = static_cast<int32_t>(-tap.y * g_.pitch - tap.x);
      read[sample.taps++] = tap;
    }
    each_image(true, [&](int64_t v, int64_t vectors, int64_t n) {
      sample.x_vectors = sample.y_vectors = g_.wide.data() + v, sample.vectors = vectors;
      sample.x_half = sample.y_half = g_.half;
      for (int t = 0; t < sample.taps; ++t) sample.weights[t] = read[t].weight * scale(chunk, k, n);
      p_.kernels.planar_sample(sample);
    });
    PlanarTaps gate;
    gate.g = sample.y, gate.z = hidden(phase) + k * g_.wide_floats;
    gate.places = g_.wide.data(), gate.half = g_.half, gate.vectors = vectors_, gate.gated = true;
    p_.kernels.planar_taps(gate);
    sums.sums[chunk.begin + k] += gate.sum;
  }
}

void Walk::descend(const Chunk& chunk, int64_t phase, const float* gradient, const int32_t* offsets,
                   Sums& sums) {
  PlanarDots dots;
  dots.operands = p_.w.operands;
  dots.a = x_dots_ + phase * p_.in_rows * p_.dots_floats(), dots.a_plane = p_.dots_floats();
  dots.b = gradient, dots.b_offsets = offsets, dots.b_vectors = g_.wide.data(), dots.b_half = g_.half;
  dots.out = sums.expand.data() + chunk.begin * p_.in_rows, dots.out_column = p_.in_rows;
  dots.rows = p_.in_rows, dots.columns = chunk.count, dots.vectors = vectors_;
  p_.kernels.planar_dots(dots);
  PlanarProduct product;
  product.operands = p_.w.operands;
  product.x = gradient, product.x_offsets = offsets, product.x_vectors = g_.wide.data();
  product.x_half = g_.half;
  product.weights = packed_.expand_back.data() + p_.in_rows * chunk.begin;
  product.adds = written_[phase];
  product.y = p_.dx_in_place ? dx_place_ : narrow(dx_, phase, 0);
  product.y_plane = p_.dx_in_place ? s_.H * s_.W : g_.narrow_floats;
  product.y_vectors = p_.dx_in_place ? packed_.dx_places.data() : g_.narrow.data();
  product.inputs = chunk.count, product.outputs = p_.in_rows, product.vectors = vectors_;
  p_.kernels.planar_product(product);
  written_[phase] = true;
}

}  // namespace fewshift::bottleneck
