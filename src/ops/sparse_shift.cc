// torch.ops.fewshift.sparse_shift: schema, checks, autograd, autocast and shape inference. The arithmetic is
// in sparse_shift_cpu.cc. SPDX-License-Identifier: Apache-2.0
#include "ops/sparse_shift.h"

#include <ATen/autocast_mode.h>
#include <torch/library.h>
#include <torch/torch.h>

namespace fewshift {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

void check(const Tensor& x, const Tensor& displacement, int64_t stride) {
  TORCH_CHECK(x.dim() == 4, "sparse_shift: x must be [N,C,H,W], but has ", x.dim(), " dimensions");
  TORCH_CHECK(
      displacement.dim() == 2 && displacement.sym_size(1) == 2 && displacement.sym_size(0) == x.sym_size(1),
      "sparse_shift: displacement must be [C,2] with C = ", x.sym_size(1), ", but is ",
      displacement.sym_sizes());
  TORCH_CHECK(stride == 1 || stride == 2, "sparse_shift: stride must be 1 or 2, but is ", stride);
  const auto type = x.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kDouble || type == at::kBFloat16,
              "sparse_shift: x must be float32, float64 or bfloat16, but is ", type);
  TORCH_CHECK(displacement.scalar_type() == at::kFloat || displacement.scalar_type() == at::kDouble,
              "sparse_shift: displacement must be float32 or float64, but is ", displacement.scalar_type());
}

template <class Name, class Signature>
auto find(Name name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<Signature>();
}

Tensor call_grad_x(const Tensor& grad, const Tensor& displacement, c10::SymInt height, c10::SymInt width,
                   int64_t stride) {
  static auto op = find<const char*, Tensor(const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, int64_t)>(
      "fewshift::sparse_shift_grad_x");
  return op.call(grad, displacement, std::move(height), std::move(width), stride);
}

Tensor call_grad_displacement(const Tensor& grad, const Tensor& x, const Tensor& displacement,
                              int64_t stride) {
  static auto op = find<const char*, Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t)>(
      "fewshift::sparse_shift_grad_displacement");
  return op.call(grad, x, displacement, stride);
}

struct SparseShiftFunction : torch::autograd::Function<SparseShiftFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& displacement,
                        int64_t stride) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool learns = displacement.requires_grad();
    // x is kept only where the displacement learns: frozen shifts cost no memory.
    context->save_for_backward({displacement, learns ? x : Tensor()});
    context->saved_data["height"] = x.sym_size(2);
    context->saved_data["width"] = x.sym_size(3);
    context->saved_data["stride"] = stride;
    return sparse_shift(x, displacement, stride);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const int64_t stride = context->saved_data["stride"].toInt();
    Tensor grad_x, grad_displacement;
    if (context->needs_input_grad(0)) {
      grad_x = call_grad_x(grads[0], saved[0], context->saved_data["height"].toSymInt(),
                           context->saved_data["width"].toSymInt(), stride);
    }
    if (context->needs_input_grad(1)) {
      grad_displacement = call_grad_displacement(grads[0], saved[1], saved[0], stride);
    }
    return {grad_x, grad_displacement, Tensor()};
  }
};

Tensor autograd(const Tensor& x, const Tensor& displacement, int64_t stride) {
  return SparseShiftFunction::apply(x, displacement, stride);
}

// A shift moves values and computes nothing: x keeps its type, and the displacement its precision.
template <c10::DispatchKey key>
Tensor autocast(const Tensor& x, const Tensor& displacement, int64_t stride) {
  c10::impl::ExcludeDispatchKeyGuard guard(key);
  const bool low = displacement.scalar_type() == at::kBFloat16 || displacement.scalar_type() == at::kHalf;
  return sparse_shift(x, low ? displacement.to(at::kFloat) : displacement, stride);
}

Tensor meta(const Tensor& x, const Tensor& displacement, int64_t stride) {
  check(x, displacement, stride);
  return at::empty_symint({x.sym_size(0), x.sym_size(1), (x.sym_size(2) + stride - 1) / stride,
                           (x.sym_size(3) + stride - 1) / stride},
                          x.options(), x.suggest_memory_format());
}

Tensor meta_grad_x(const Tensor& grad, const Tensor&, c10::SymInt height, c10::SymInt width, int64_t) {
  return at::empty_symint({grad.sym_size(0), grad.sym_size(1), std::move(height), std::move(width)},
                          grad.options(), grad.suggest_memory_format());
}

Tensor meta_grad_displacement(const Tensor&, const Tensor&, const Tensor& displacement, int64_t) {
  return at::empty_like(displacement);
}

}  // namespace

Tensor sparse_shift(const Tensor& x, const Tensor& displacement, int64_t stride) {
  check(x, displacement, stride);
  static auto op = find<const char*, Tensor(const Tensor&, const Tensor&, int64_t)>("fewshift::sparse_shift");
  return op.call(x, displacement, stride);
}

TORCH_LIBRARY(fewshift, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def("sparse_shift(Tensor x, Tensor displacement, int stride=1) -> Tensor", tags);
  library.def(
      "sparse_shift_grad_x(Tensor grad, Tensor displacement, SymInt height, SymInt width, int stride) -> "
      "Tensor",
      tags);
  library.def(
      "sparse_shift_grad_displacement(Tensor grad, Tensor x, Tensor displacement, int stride) -> Tensor",
      tags);
}

TORCH_LIBRARY_IMPL(fewshift, Autograd, library) {
  library.impl("sparse_shift", autograd);
}

TORCH_LIBRARY_IMPL(fewshift, AutocastCPU, library) {
  library.impl("sparse_shift", autocast<c10::DispatchKey::AutocastCPU>);
}

TORCH_LIBRARY_IMPL(fewshift, AutocastCUDA, library) {
  library.impl("sparse_shift", autocast<c10::DispatchKey::AutocastCUDA>);
}

TORCH_LIBRARY_IMPL(fewshift, Meta, library) {
  library.impl("sparse_shift", meta);
  library.impl("sparse_shift_grad_x", meta_grad_x);
  library.impl("sparse_shift_grad_displacement", meta_grad_displacement);
}

}  // namespace fewshift
