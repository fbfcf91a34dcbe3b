// SPDX-License-Identifier: Apache-2.0
#include "ops/bottleneck_pass.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "ops/bottleneck_walk.h"

namespace fewshift::bottleneck {
namespace {

// Calls f(walk, part, first image, last image + 1) for each part of the batch, a `Walk(args...)` each thread.
template <class Walk, class F, class... Args>
void each_part(int64_t N, F f, const Args&... args) {
  const int64_t threads = std::min<int64_t>({at::get_num_threads(), kParts, N});
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      Walk walk(args...);
      for (int64_t part; (part = next++) < kParts;)
        f(walk, part, part_begin(part, N), part_begin(part + 1, N));
    }
  });
}

// x's channels alone, as planes: for the walks that do not see the hidden activation.
class Inputs {
 public:
  explicit Inputs(const Work& work)
      : rows(round_up(work.shape.width, fewshift::kernels().planar_height)),
        planes(images_together(work.shape), work.shape.H, work.shape.W, 0, 0, fewshift::kernels().lanes),
        w_(work),
        s_(work.shape),
        kernels_(fewshift::kernels()),
        memory_((2 * rows + 1) * planes.narrow_floats + 64),
        x_(memory_.take((rows + 1) * planes.narrow_floats)),
        dx_(memory_.take(rows * planes.narrow_floats)),
        offsets_(strided(rows + 1, planes.narrow_floats)),
        places_(planes.places(s_.channels * s_.H * s_.W)) {}

  // x less its centre; sums, if given, get what that comes to.
  void start(int64_t first, int64_t end, const float* centre, double* sums) {
    first_ = first, images_ = end - first;
    each_plane([&](int64_t at, int64_t c, int64_t place) {
      if (sums) {
        sums[c] += pack_plane(w_.x + at, pixels(), planes, -centre[c], x_ + place);
      } else {
        pack_plane(w_.x + at, pixels(), planes, 1.0f, -centre[c], x_ + place);
      }
    });
  }
  // products[j * rows + i] += for j from i's tile on.
  void add_products(float* products) const {
    for (int64_t i = 0; i < rows; i += kernels_.planar_height) {
      PlanarDots dots;
      dots.a = x_ + i * planes.narrow_floats, dots.a_plane = planes.narrow_floats;
      dots.b = x_, dots.b_offsets = offsets_.data() + i;
      dots.b_vectors = planes.narrow.data();
      dots.out = products + i * rows + i, dots.out_column = rows;
      dots.rows = kernels_.planar_height, dots.columns = s_.width - i;
      dots.vectors = images_ * planes.image_vectors;
      kernels_.planar_dots(dots);
    }
  }
  // dx += weights (packed) * x and 1.
  void correct(const float* weights, float* dx) {
    std::fill_n(x_ + s_.width * planes.narrow_floats, planes.narrow_floats, 1.0f);
    const bool in_place = planes.fills(pixels()) && rows == s_.width;
    float* const map = dx + (first_ * s_.channels + s_.first) * planes.height * planes.width;
    if (!in_place)
      each_plane([&](int64_t at, int64_t, int64_t place) {
        pack_plane(dx + at, pixels(), planes, 1.0f, 0.0f, dx_ + place);
      });
    PlanarProduct product;
    product.x = x_, product.x_offsets = offsets_.data(), product.x_vectors = planes.narrow.data();
    product.weights = weights, product.adds = true;
    product.y = in_place ? map : dx_, product.y_plane = in_place ? s_.H * s_.W : planes.narrow_floats;
    product.y_vectors = in_place ? places_.data() : planes.narrow.data();
    product.inputs = s_.width + 1, product.outputs = rows, product.vectors = images_ * planes.image_vectors;
    kernels_.planar_product(product);
    if (!in_place)
      each_plane(
          [&](int64_t at, int64_t, int64_t place) { unpack_plane(dx_ + place, planes, pixels(), dx + at); });
  }

  const int64_t rows;
  const Planes planes;

 private:
  Pixels pixels() const { return {s_.H, s_.W, s_.W}; }
  // f(place in the tensor, channel, place in the planes)
  template <class F>
  void each_plane(F f) const {
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t c = 0; c < s_.width; ++c)
        f(((first_ + n) * s_.channels + s_.first + c) * s_.H * s_.W, c,
          c * planes.narrow_floats + n * planes.narrow_image);
    }
  }

  const Work& w_;
  const Shape& s_;
  const Kernels& kernels_;
  Memory memory_;
  float *const x_, *const dx_;
  const std::vector<int32_t> offsets_, places_;
  int64_t first_ = 0, images_ = 0;
};

// Calls f(first, end) for groups of at most so many images from `begin` to `end`, about equal.
template <class F>
void each_group(int64_t begin, int64_t end, int64_t most, F f) {
  const int64_t images = end - begin, groups = (images + most - 1) / most;
  for (int64_t k = 0; k < groups; ++k) f(begin + k * images / groups, begin + (k + 1) * images / groups);
}

// The parts' sums of hidden channel m, [rows], in the parts' order: f(the channel, count of them).
template <class F>
void each_total(const std::vector<Sums>& parts, std::vector<float> Sums::*which, int64_t rows, int64_t count,
                const std::vector<int64_t>& order, F f) {
  at::parallel_for(0, static_cast<int64_t>(order.size()), 16, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(count);
    for (int64_t m = begin; m < end; ++m) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (const Sums& part : parts) {
        const float* const row = (part.*which).data() + m * rows;
        for (int64_t k = 0; k < count; ++k) sum[k] += row[k];
      }
      f(order[m], sum);
    }
  });
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

int64_t kept_values(const Work& work) {
  const Plan plan(work, false);
  return work.shape.N * plan.grid.image_vectors * work.shape.hidden * plan.kernels.lanes;
}

// Walks over all images, f(walk, first, last) for each group, and adds the parts' sums up.
template <class F>
Gradients walk_backward(const Work& work, F f) {
  const Plan plan(work, true);
  const Packed packed(plan, true);
  const Shape& s = plan.shape;
  std::vector<Sums> parts(kParts);
  for (Sums& sums : parts) {
    sums.project.resize(plan.out_rows * s.hidden), sums.expand.resize(plan.in_rows * s.hidden);
    sums.sums.resize(s.hidden), sums.corners.resize(work.corner_count * s.hidden);
    sums.removal.resize(work.measures ? s.hidden : 0);
  }
  Gradients g;
  if (work.scale) g.scale.resize(s.N * s.hidden);
  each_part<Walk>(
      s.N,
      [&](Walk& walk, int64_t part, int64_t begin, int64_t end) {
        each_group(begin, end, plan.grid.images, [&](int64_t first, int64_t last) {
          walk.start(first, last);
          f(walk, parts[part], g.scale.data());
        });
      },
      plan, packed, true);
  g.project.resize(s.out * s.hidden), g.expand.resize(s.hidden * s.width);
  g.sums = total(parts, &Sums::sums, plan.order), g.corners = total(parts, &Sums::corners, plan.order);
  g.removal = total(parts, &Sums::removal, plan.order);
  each_total(parts, &Sums::project, plan.out_rows, s.out, plan.order, [&](int64_t m, const auto& sum) {
    for (int64_t o = 0; o < s.out; ++o) g.project[o * s.hidden + m] = static_cast<float>(sum[o]);
  });
  each_total(parts, &Sums::expand, plan.in_rows, s.width, plan.order,
             [&](int64_t m, const auto& sum) { std::copy(sum.begin(), sum.end(), &g.expand[m * s.width]); });
  return g;
}

Gradients backward(const Work& work, const float* dz, const float* y, const OutputGradient& dy, bool residual,
                   float* dx) {
  return walk_backward(work, [&](Walk& walk, Sums& sums, float* dscale) {
    walk.start_backward(dz, y, dy, residual, dx);
    walk.backward(sums, dscale, dx);
  });
}

void pool(const Work& work, float* means) {
  const Plan plan(work, false);
  const Packed packed(plan, false);
  each_part<Walk>(
      plan.shape.N,
      [&](Walk& walk, int64_t, int64_t begin, int64_t end) {
        each_group(begin, end, plan.grid.images, [&](int64_t first, int64_t last) {
          walk.start(first, last);
          walk.pool(means);
        });
      },
      plan, packed, false);
}

Gradients unpool(const Work& work, const float* dmeans, float* dx) {
  return walk_backward(work, [&](Walk& walk, Sums& sums, float*) { walk.unpool(dmeans, sums, dx); });
}

void finish_gradient(const Work& work, const std::vector<float>& correction, const float* dz, float* dx) {
  const Shape& s = work.shape;
  const int64_t C = s.width, pixels = s.H * s.W;
  const int height = fewshift::kernels().planar_height;
  AlignedFloats packed(round_up(C, height) * (C + 1));
  pack_planar(correction.data(), C, C + 1, C + 1, 1, height, PlanarOperands::kFloat, packed.data());
  each_part<Inputs>(
      s.N,
      [&](Inputs& inputs, int64_t, int64_t begin, int64_t end) {
        each_group(begin, end, inputs.planes.images, [&](int64_t first, int64_t last) {
          inputs.start(first, last, work.centre.data(), nullptr);
          inputs.correct(packed.data(), dx);
          for (int64_t n = first; n < last; ++n)
            if (dz) {
              std::copy_n(dz + n * s.channels * pixels, s.first * pixels, dx + n * s.channels * pixels);
            } else {
              std::fill_n(dx + n * s.channels * pixels, s.first * pixels, 0.0f);
            }
        });
      },
      work);
}

}  // namespace fewshift::bottleneck
