// Of the hidden activation's many walks through memory (statistics, normalise, ReLU, shift, and back) only
// these are left: forward, read twice and written once; backward, the gradient and h read, the masked
// gradient written, and once more for batch norm's second round. What lies between stays in an image-sized
// buffer, in the cache. SPDX-License-Identifier: Apache-2.0
#include "ops/norm_relu_shift.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "ops/batch_norm_sums.h"
#include "ops/shift_nhwc.h"

namespace fewshift {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// sums[c] += x[p][c], squares[c] += x[p][c]^2 over `pixels`.
FEWSHIFT_CLONES void add_moments(const float* x, int64_t pixels, int64_t C, float* sums, float* squares) {
  for (int64_t p = 0; p < pixels; ++p, x += C) {
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) {
      sums[c] += x[c];
      squares[c] += x[c] * x[c];
    }
  }
}

// z = scale * h + bias, held between 0 and top.
FEWSHIFT_CLONES void scale_relu(const float* h, int64_t pixels, int64_t C, const float* scale,
                                const float* bias, float top, float* z) {
  for (int64_t p = 0; p < pixels; ++p, h += C, z += C) {
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) {
      const float v = scale[c] * h[c] + bias[c];
      z[c] = v < 0 ? 0 : v > top ? top : v;  // NaN stays NaN
    }
  }
}

// dz = 0 < z < top ? g : 0, and its sums: sums[c] += dz, products[c] += dz * h.
FEWSHIFT_CLONES void mask_and_sum(const float* g, const float* z, const float* h, int64_t pixels, int64_t C,
                                  float top, float* dz, float* sums, float* products) {
  for (int64_t p = 0; p < pixels; ++p, g += C, z += C, h += C, dz += C) {
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) {
      const float d = (z[c] > 0) & (z[c] < top) ? g[c] : 0;
      dz[c] = d;
      sums[c] += d;
      products[c] += d * h[c];
    }
  }
}

// d = a * d + b * h + c, by channel, in place.
FEWSHIFT_CLONES void combine(float* d, const float* h, int64_t pixels, int64_t C, const float* a,
                             const float* b, const float* k) {
  for (int64_t p = 0; p < pixels; ++p, d += C, h += C) {
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) d[c] = a[c] * d[c] + b[c] * h[c] + k[c];
  }
}

// Sums of float rows in double, so that large maps lose nothing.
struct Sums {
  std::vector<float> row;
  explicit Sums(int64_t C) : row(C) {}
  void flush(double* total) {
    for (size_t c = 0; c < row.size(); ++c) {
      total[c] += row[c];
      row[c] = 0;
    }
  }
};

struct Geometry {
  int64_t N, C;
  Size in, out;
  int64_t stride;
  int64_t in_size() const { return in.height * in.width * C; }
  int64_t out_size() const { return out.height * out.width * C; }
};

Geometry geometry(const Tensor& h, int64_t stride) {
  const Size in{h.size(2), h.size(3)};
  return {h.size(0),
          h.size(1),
          in,
          {(in.height + stride - 1) / stride, (in.width + stride - 1) / stride},
          stride};
}

// The affine form of batch norm, [C] each, and where the activation ends.
struct Affine {
  Tensor scale, bias;
  float top;
};

Affine affine(const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& variance, double eps,
              double top) {
  const Tensor scale = (gamma * (variance + eps).rsqrt()).contiguous();
  return {scale, (beta - mean * scale).contiguous(), static_cast<float>(top)};
}

void shift_whole_image(const float* z, float* y, const Rows& rows, std::vector<Entry>& entries) {
  const int64_t row_size = rows.map.to.width * rows.C;
  for (int64_t i = 0; i < rows.map.to.height; ++i) {
    if (rows.map.adjoint) {
      spread_row_nhwc(z, y + i * row_size, i, rows);
    } else {
      shift_row_nhwc(z, y + i * row_size, i, rows, entries);
    }
  }
}

Rows adjoint_rows(const Geometry& g, std::vector<Shift> shifts) {
  if (g.stride == 1) {
    for (Shift& shift : shifts) shift = {-shift.dy, -shift.dx};
  }
  return Rows({g.out, g.in, g.stride, g.stride != 1}, shifts);
}

std::vector<Shift> shifts_of(const Tensor& displacement, const Geometry& g) {
  if (!displacement.defined()) return std::vector<Shift>(g.C, Shift{0, 0});
  return whole_shifts(displacement, half_to_even, g.in);
}

Tensor forward(const Tensor& h, const Affine& affine, const Tensor& displacement, int64_t stride) {
  const Geometry g = geometry(h, stride);
  Tensor y = at::empty({g.N, g.C, g.out.height, g.out.width}, h.options(), at::MemoryFormat::ChannelsLast);
  const Rows rows({g.in, g.out, stride, false}, shifts_of(displacement, g));
  const bool still = rows.moved.empty() && stride == 1;
  const float* in = h.const_data_ptr<float>();
  const float* scale = affine.scale.const_data_ptr<float>();
  const float* bias = affine.bias.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  at::parallel_for(0, g.N, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> z(still ? 0 : g.in_size());
    std::vector<Entry> entries;
    for (int64_t n = begin; n < end; ++n) {
      float* target = still ? out + n * g.out_size() : z.data();
      scale_relu(in + n * g.in_size(), g.in.height * g.in.width, g.C, scale, bias, affine.top, target);
      if (!still) shift_whole_image(z.data(), out + n * g.out_size(), rows, entries);
    }
  });
  return y;
}

// The first round of the backward pass: dz (into dh), its sums and products [N][C], correlations [N][4][C].
struct Round {
  std::vector<double> sums, products, taps;
};

Round masked_gradient(const Tensor& grad, const Tensor& h, const Affine& affine, const Tensor& displacement,
                      const Geometry& g, bool learns, Tensor& dh) {
  Round round{std::vector<double>(g.N * g.C), std::vector<double>(g.N * g.C),
              std::vector<double>(learns ? g.N * 4 * g.C : 0)};
  const Rows rows = adjoint_rows(g, shifts_of(displacement, g));
  const bool still = rows.moved.empty() && g.stride == 1;
  const Map forward_map{g.in, g.out, g.stride, false};
  const auto runs = learns ? runs_of(whole_shifts(
                                 displacement, [](double v) { return std::floor(v); }, g.in))
                           : std::vector<Run>{};
  const float* in = h.const_data_ptr<float>();
  const float* gy = grad.const_data_ptr<float>();
  const float* scale = affine.scale.const_data_ptr<float>();
  const float* bias = affine.bias.const_data_ptr<float>();
  float* out = dh.mutable_data_ptr<float>();
  const int64_t row_size = g.in.width * g.C;
  at::parallel_for(0, g.N, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> z(g.in_size()), gz(still ? 0 : g.in_size());
    std::vector<Entry> entries;
    Sums sums(g.C), products(g.C);
    for (int64_t n = begin; n < end; ++n) {
      const float* h_image = in + n * g.in_size();
      const float* gy_image = gy + n * g.out_size();
      scale_relu(h_image, g.in.height * g.in.width, g.C, scale, bias, affine.top, z.data());
      if (learns) correlate_image_nhwc(gy_image, z.data(), forward_map, g.C, runs, &round.taps[n * 4 * g.C]);
      if (!still) shift_whole_image(gy_image, gz.data(), rows, entries);
      const float* gz_image = still ? gy_image : gz.data();
      for (int64_t i = 0; i < g.in.height; ++i) {
        const int64_t at = i * row_size;
        mask_and_sum(gz_image + at, z.data() + at, h_image + at, g.in.width, g.C, affine.top,
                     out + n * g.in_size() + at, sums.row.data(), products.row.data());
        sums.flush(&round.sums[n * g.C]);
        products.flush(&round.products[n * g.C]);
      }
    }
  });
  return round;
}

// Sums over images in their order: [N][C] -> [C].
Tensor total(const std::vector<double>& parts, const Geometry& g) {
  Tensor sum = at::zeros({g.C}, at::kDouble);
  double* p = sum.mutable_data_ptr<double>();
  for (int64_t n = 0; n < g.N; ++n) {
    for (int64_t c = 0; c < g.C; ++c) p[c] += parts[n * g.C + c];
  }
  return sum;
}

struct NormReluShift : torch::autograd::Function<NormReluShift> {
  static Tensor forward(AutogradContext* context, const Tensor& h, const Tensor& gamma, const Tensor& beta,
                        const Tensor& mean, const Tensor& variance, bool batch_statistics, double eps,
                        double top, const std::optional<Tensor>& moves, int64_t stride, double count) {
    const Tensor displacement = moves.value_or(Tensor());
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({h, gamma, beta, mean, variance, displacement});
    context->saved_data["batch_statistics"] = batch_statistics;
    context->saved_data["eps"] = eps;
    context->saved_data["top"] = top;
    context->saved_data["stride"] = stride;
    context->saved_data["count"] = count;
    context->saved_data["learns"] = displacement.defined() && displacement.requires_grad();
    return fewshift::forward(h, affine(gamma, beta, mean, variance, eps, top), displacement, stride);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &h = saved[0], &displacement = saved[5];
    const Tensor gamma = saved[1].to(at::kDouble), mean = saved[3].to(at::kDouble);
    const double eps = context->saved_data["eps"].toDouble(), top = context->saved_data["top"].toDouble();
    const Geometry g = geometry(h, context->saved_data["stride"].toInt());
    const Tensor grad = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    Tensor dh = at::empty_like(h);
    const bool learns = context->saved_data["learns"].toBool();
    const Round round = masked_gradient(grad, h, affine(saved[1], saved[2], saved[3], saved[4], eps, top),
                                        displacement, g, learns, dh);

    // With xhat = (h - mean) r: dbeta = sum dz, dgamma = sum dz xhat, and through the batch's own statistics
    // dh = gamma r (dz - dbeta / P - xhat dgamma / P).
    const Tensor r = (saved[4].to(at::kDouble) + eps).rsqrt();
    const Tensor dbeta = total(round.sums, g);
    const Tensor dgamma = (total(round.products, g) - mean * dbeta) * r;
    const Tensor a = gamma * r;
    Tensor b = at::zeros_like(a), k = at::zeros_like(a);
    if (context->saved_data["batch_statistics"].toBool()) {
      double pixels = context->saved_data["count"].toDouble();
      if (pixels == 0) pixels = static_cast<double>(g.N * g.in.height * g.in.width);
      Tensor sums = at::cat({dgamma, dbeta});
      add_up_sums(sums);
      b = -a * sums.slice(0, 0, g.C) * r / pixels;
      k = -a * sums.slice(0, g.C) / pixels - b * mean;
    }
    const Tensor af = a.to(at::kFloat), bf = b.to(at::kFloat), kf = k.to(at::kFloat);
    float* d = dh.mutable_data_ptr<float>();
    const float* in = h.const_data_ptr<float>();
    const int64_t row = g.in.width * g.C;
    at::parallel_for(0, g.N * g.in.height, 16, [&](int64_t begin, int64_t end) {
      combine(d + begin * row, in + begin * row, (end - begin) * g.in.width, g.C, af.const_data_ptr<float>(),
              bf.const_data_ptr<float>(), kf.const_data_ptr<float>());
    });

    Tensor du;
    if (learns) {
      const Tensor u = displacement.to(at::kDouble).contiguous();
      Tensor wide = at::empty_like(u);
      displacement_gradient(round.taps, g.N, g.C, u.const_data_ptr<double>(),
                            wide.mutable_data_ptr<double>());
      du = wide.to(displacement.scalar_type());
    }
    return {dh,
            dgamma.to(at::kFloat),
            dbeta.to(at::kFloat),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor(),
            du,
            Tensor(),
            Tensor()};
  }
};

}  // namespace

std::pair<Tensor, Tensor> channel_moments(const Tensor& h) {
  const Geometry g = geometry(h, 1);
  std::vector<double> sums(g.N * g.C), squares(g.N * g.C);
  const float* in = h.const_data_ptr<float>();
  at::parallel_for(0, g.N, 1, [&](int64_t begin, int64_t end) {
    Sums sum(g.C), square(g.C);
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t i = 0; i < g.in.height; ++i) {
        add_moments(in + n * g.in_size() + i * g.in.width * g.C, g.in.width, g.C, sum.row.data(),
                    square.row.data());
        sum.flush(&sums[n * g.C]);
        square.flush(&squares[n * g.C]);
      }
    }
  });
  const double pixels = static_cast<double>(g.N * g.in.height * g.in.width);
  const Tensor mean = total(sums, g) / pixels;
  const Tensor variance = (total(squares, g) / pixels - mean * mean).clamp_min(0.0);
  return {mean.to(at::kFloat), variance.to(at::kFloat)};
}

Tensor norm_relu_shift(const Tensor& h, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                       const Tensor& variance, bool batch_statistics, double eps, const Tensor& displacement,
                       int64_t stride, double top, double count) {
  TORCH_CHECK(h.dim() == 4 && h.scalar_type() == at::kFloat && h.device().is_cpu() &&
                  h.is_contiguous(at::MemoryFormat::ChannelsLast),
              "norm_relu_shift: h must be [N,C,H,W] float32, channels_last, on the CPU");
  TORCH_CHECK(stride == 1 || stride == 2, "norm_relu_shift: stride must be 1 or 2, but is ", stride);
  return NormReluShift::apply(h, gamma, beta, mean, variance, batch_statistics, eps, top,
                              displacement.defined() ? std::optional(displacement) : std::nullopt, stride,
                              count);
}

}  // namespace fewshift
