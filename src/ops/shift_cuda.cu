// The shift operators on a GPU: float32, float64, bfloat16 and float16, contiguous and channels_last. Every
// kernel reads and writes each tensor once, give or take what neighbouring rows share; displacements'
// gradients are added up in an order that does not change. SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/shift_elements.h"
#include "ops/shift_tiles.cuh"

namespace fewshift {
namespace {

using at::MemoryFormat;
using at::Tensor;
using namespace elements;

constexpr int kThreads = 256;
constexpr int64_t kMostElements = int64_t{1} << 30;  // of a launch: indices have 32 bits

template <class Functor>
__global__ void __launch_bounds__(kThreads) each_thread(Functor f) {
  f(blockIdx.x * kThreads + threadIdx.x);
}

// Threads: x over groups of kCount channels, y over lines.
template <int kCount, class Functor>
__global__ void __launch_bounds__(kThreads) each_line(Functor f) {
  f((blockIdx.y * blockDim.x + threadIdx.x) * kCount, blockIdx.x * blockDim.y + threadIdx.y);
}

// f(T{}, Real{}): the type of x, and of what is computed.
template <class F>
void for_type(at::ScalarType type, F f) {
  switch (type) {
    case at::kFloat:
      return f(float{}, float{});
    case at::kDouble:
      return f(double{}, double{});
    case at::kBFloat16:
      return f(c10::BFloat16{}, float{});
    default:
      TORCH_CHECK(type == at::kHalf, "shift: x must be float32, float64, bfloat16 or float16, but is ", type);
      return f(c10::Half{}, float{});
  }
}

// [C,2] as kernels compute; rounded already where that alone is wanted, so that no type changes what is
// nearest.
Tensor displacements(const Tensor& u, at::ScalarType x, bool rounded) {
  const Tensor moves = rounded ? u.round() : u;
  return moves.to(x == at::kDouble ? at::kDouble : at::kFloat).contiguous();
}

struct Blocks {
  dim3 threads;
  int64_t channel_blocks;
};
Blocks blocks_of(int64_t channel_groups) {
  const int64_t blocks = (channel_groups + 127) / 128;
  const auto x = static_cast<unsigned>((channel_groups + blocks - 1) / blocks);
  return {dim3(x, kThreads / x), blocks};
}

template <int kCount, class Functor>
void launch_lines(const Functor& f, int64_t lines, const Blocks& blocks, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((lines + blocks.threads.y - 1) / blocks.threads.y),
                  static_cast<unsigned>(blocks.channel_blocks));
  each_line<kCount><<<grid, blocks.threads, 0, stream>>>(f);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// Whether tiles take it: 16-bit numbers, in whole vectors of 16 bytes.
template <class T>
bool tiled(const T* x, const Geometry& g) {
  return sizeof(T) == 2 && g.channels % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
}
template <bool kAdjoint, class T, class Real>
void launch_tiles(const T* x, T* y, const Real* u, const Geometry& g, int64_t images, cudaStream_t stream) {
  const tiles::Grid grid = tiles::grid_of(g);
  const auto blocks = static_cast<unsigned>(images * grid.by_map.divisor * grid.by_groups.divisor);
  tiles::sparse<kAdjoint><<<blocks, tiles::kThreads, 0, stream>>>(x, y, u, grid);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// x and y: some images.
template <int kTaps, bool kAdjoint, int kStride, class T, class Real>
void launch(const T* x, T* y, const Real* u, const Geometry& g, int64_t images, bool channels_last,
            cudaStream_t stream) {
  const auto rows = static_cast<uint32_t>(images * g.to_height);
  if constexpr (kTaps == 4) {
    if (channels_last) {
      launch_lines<1>(
          Interpolated<T, Real, kAdjoint, kStride, true>{x, y, u, g, rows, Division(g.to_height), {}}, rows,
          blocks_of(g.channels), stream);
    } else {
      const auto columns = static_cast<uint32_t>(images * g.channels * g.to_width);
      launch_lines<1>(
          Interpolated<T, Real, kAdjoint, kStride, false>{x, y, u, g, columns, Division(g.to_width),
                                                          Division(g.channels)},
          columns, Blocks{dim3(1, kThreads), 1}, stream);
    }
  } else if (channels_last && kStride == 1 && tiled(x, g)) {
    if constexpr (sizeof(T) == 2) launch_tiles<kAdjoint>(x, y, u, g, images, stream);
  } else if (channels_last) {
    constexpr int kPair = sizeof(T) == 2 ? 2 : 1;
    if (kPair == 2 && g.channels % 2 == 0 && reinterpret_cast<uintptr_t>(x) % 4 == 0) {
      launch_lines<kPair>(Rows<T, Real, kAdjoint, kStride, kPair>{x, y, u, g, rows, Division(g.to_height)},
                          rows, blocks_of(g.channels / kPair), stream);
    } else {
      launch_lines<1>(Rows<T, Real, kAdjoint, kStride, 1>{x, y, u, g, rows, Division(g.to_height)}, rows,
                      blocks_of(g.channels), stream);
    }
  } else {
    using Functor = elements::Planes<T, Real, kAdjoint, kStride>;
    const auto count = static_cast<uint32_t>(images * g.channels * g.to_size());
    const Functor f{x,
                    y,
                    u,
                    g,
                    count,
                    reinterpret_cast<uintptr_t>(x) % 16 == 0,
                    Division(g.to_size()),
                    Division(g.to_width),
                    Division(g.channels)};
    const uint32_t threads = (count + Functor::kCount - 1) / Functor::kCount;
    each_thread<<<(threads + kThreads - 1) / kThreads, kThreads, 0, stream>>>(f);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

template <int kTaps, bool kAdjoint, class T, class Real>
void launch(const Tensor& x, Tensor& y, const Tensor& u, const Geometry& g, int64_t stride,
            bool channels_last) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  const int64_t from = int64_t{g.channels} * g.from_size(), to = int64_t{g.channels} * g.to_size(),
                N = x.size(0);
  const int64_t together = std::max<int64_t>(1, kMostElements / std::max(from, to));
  const Real* const moves = u.const_data_ptr<Real>();
  for (int64_t n = 0; n < N; n += together) {
    const int64_t images = std::min(together, N - n);
    const T* const in = x.const_data_ptr<T>() + n * from;
    T* const out = y.mutable_data_ptr<T>() + n * to;
    if (stride == 1) {
      launch<kTaps, kAdjoint, 1>(in, out, moves, g, images, channels_last, stream);
    } else {
      launch<kTaps, kAdjoint, 2>(in, out, moves, g, images, channels_last, stream);
    }
  }
}

template <int kTaps, bool kAdjoint>
Tensor run(const Tensor& x_any, const Tensor& displacement, int64_t height, int64_t width, int64_t stride) {
  const c10::cuda::CUDAGuard guard(x_any.device());
  TORCH_CHECK(displacement.device() == x_any.device(), "shift: displacement must be on x's device");
  const MemoryFormat format = x_any.suggest_memory_format();
  const Tensor x = x_any.contiguous(format);
  Tensor y = at::empty({x.size(0), x.size(1), height, width}, x.options(), format);
  if (y.numel() == 0) return y;
  if (x.numel() == 0) return y.zero_();
  TORCH_CHECK(std::max(x.numel(), y.numel()) / x.size(0) <= kMostElements, "shift: maps of ", x.size(1),
              " x ", x.size(2), " x ", x.size(3), " are too large");
  const Geometry g{static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), static_cast<int>(x.size(3)),
                   static_cast<int>(height), static_cast<int>(width)};
  const Tensor u = displacements(displacement, x.scalar_type(), kTaps == 1);
  for_type(x.scalar_type(), [&](auto zero, auto real) {
    launch<kTaps, kAdjoint, decltype(zero), decltype(real)>(x, y, u, g, stride,
                                                            format == MemoryFormat::ChannelsLast);
  });
  return y;
}

template <int kTaps>
Tensor forward(const Tensor& x, const Tensor& displacement, int64_t stride) {
  return run<kTaps, false>(x, displacement, (x.size(2) + stride - 1) / stride,
                           (x.size(3) + stride - 1) / stride, stride);
}
template <int kTaps>
Tensor grad_x(const Tensor& grad, const Tensor& displacement, int64_t height, int64_t width, int64_t stride) {
  return run<kTaps, true>(grad, displacement, height, width, stride);
}

// ---- The displacement's gradient: partial sums [chunks][C][2], then their sum. ----

template <class T, class Real>
struct Gradient {
  const T* grad;
  const T* x;
  const Real* displacement;
  double* partial;
  Geometry g;
  uint32_t lines;  // rows of all images' results (channels_last), or columns of a channel's
  uint32_t chunk;  // of them, in a block
  Division by_side;
};

// Blocks: x over chunks of lines, y over channels. channels_last: threads x over channels, y over rows;
// contiguous: one channel, threads over columns.
template <bool kChannelsLast, int kStride, class T, class Real>
__global__ void __launch_bounds__(kThreads) gradient_of(Gradient<T, Real> f) {
  __shared__ double shared[kThreads][2];
  const Geometry& g = f.g;
  const int channel = kChannelsLast ? blockIdx.y * blockDim.x + threadIdx.x : blockIdx.y;
  const int lanes = kChannelsLast ? blockDim.x : 1, rows = kChannelsLast ? blockDim.y : kThreads;
  const int row = kChannelsLast ? threadIdx.y : threadIdx.x, lane = kChannelsLast ? threadIdx.x : 0;
  double totals[2] = {0, 0};
  if (channel < g.channels) {
    const Real y = f.displacement[2 * channel], x = f.displacement[2 * channel + 1];
    const uint32_t begin = blockIdx.x * f.chunk, end = min(begin + f.chunk, f.lines);
    for (uint32_t line = begin + row; line < end; line += rows) {
      const uint32_t image = f.by_side(line);
      const int at = static_cast<int>(line - image * f.by_side.divisor);
      const int64_t map = static_cast<int64_t>(image) * g.channels + (kChannelsLast ? 0 : channel);
      const int64_t offset = kChannelsLast ? channel : 0;
      Real sums[2] = {0, 0};
      add_gradient<kChannelsLast, kStride>(f.grad + map * g.to_size() + offset,
                                           f.x + map * g.from_size() + offset, at, y, x, g, sums);
      totals[0] += sums[0], totals[1] += sums[1];
    }
  }
  shared[row * lanes + lane][0] = totals[0], shared[row * lanes + lane][1] = totals[1];
  for (int n = rows; n > 1;) {
    __syncthreads();
    const int half = (n + 1) / 2;
    if (row < n - half) {
      shared[row * lanes + lane][0] += shared[(row + half) * lanes + lane][0];
      shared[row * lanes + lane][1] += shared[(row + half) * lanes + lane][1];
    }
    n = half;
  }
  if (row == 0 && channel < g.channels) {
    double* const to = f.partial + 2 * (static_cast<int64_t>(blockIdx.x) * g.channels + channel);
    to[0] = shared[lane][0], to[1] = shared[lane][1];
  }
}

Tensor grad_displacement(const Tensor& grad_any, const Tensor& x_any, const Tensor& displacement,
                         int64_t stride) {
  const c10::cuda::CUDAGuard guard(x_any.device());
  const MemoryFormat format = x_any.suggest_memory_format();
  const Tensor x = x_any.contiguous(format), grad = grad_any.to(x.scalar_type()).contiguous(format);
  if (x.numel() == 0 || grad.numel() == 0) return at::zeros_like(displacement);
  const int64_t N = x.size(0), C = x.size(1);
  const Geometry g{static_cast<int>(C), static_cast<int>(x.size(2)), static_cast<int>(x.size(3)),
                   static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  const bool channels_last = format == MemoryFormat::ChannelsLast;
  const int64_t lines = N * (channels_last ? g.to_height : g.to_width);
  const Blocks blocks = channels_last ? blocks_of(C) : Blocks{dim3(kThreads), C};
  const int64_t threads = channels_last ? blocks.threads.y : kThreads;
  TORCH_CHECK(lines < kMostElements && std::max(x.numel(), grad.numel()) / N <= kMostElements &&
                  blocks.channel_blocks < 65536,
              "shift: maps of ", C, " x ", x.size(2), " x ", x.size(3), " are too large");
  constexpr int64_t kBlocks = 4096;  // about; enough for any GPU of today
  const int64_t chunks = std::clamp<int64_t>((kBlocks + blocks.channel_blocks - 1) / blocks.channel_blocks, 1,
                                             (lines + threads - 1) / threads);
  const int64_t chunk = ((lines + chunks - 1) / chunks + threads - 1) / threads * threads;
  const int64_t used = (lines + chunk - 1) / chunk;
  const Tensor u = displacements(displacement, x.scalar_type(), false);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  const Tensor partial = at::empty({used, C, 2}, x.options().dtype(at::kDouble).memory_format({}));
  for_type(x.scalar_type(), [&](auto zero, auto real) {
    using T = decltype(zero);
    using Real = decltype(real);
    const Gradient<T, Real> f{grad.const_data_ptr<T>(),
                              x.const_data_ptr<T>(),
                              u.const_data_ptr<Real>(),
                              partial.mutable_data_ptr<double>(),
                              g,
                              static_cast<uint32_t>(lines),
                              static_cast<uint32_t>(chunk),
                              Division(channels_last ? g.to_height : g.to_width)};
    const dim3 grid(static_cast<unsigned>(used), static_cast<unsigned>(blocks.channel_blocks));
    auto* const kernel =
        channels_last ? (stride == 1 ? gradient_of<true, 1, T, Real> : gradient_of<true, 2, T, Real>)
                      : (stride == 1 ? gradient_of<false, 1, T, Real> : gradient_of<false, 2, T, Real>);
    kernel<<<grid, blocks.threads, 0, stream>>>(f);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return partial.sum(0).to(displacement.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(fewshift, CUDA, library) {
  library.impl("sparse_shift", forward<1>);
  library.impl("active_shift", forward<4>);
  library.impl("sparse_shift_grad_x", grad_x<1>);
  library.impl("active_shift_grad_x", grad_x<4>);
  library.impl("shift_grad_displacement", grad_displacement);
}

}  // namespace fewshift
