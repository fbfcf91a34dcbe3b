// torch.ops.fewshift.sparse_shift and active_shift: schemas, checks, autograd, autocast and shape inference.
// The arithmetic is in sparse_shift_cpu.cc, active_shift_cpu.cc and shift_cuda.cu.
// SPDX-License-Identifier: Apache-2.0
#include <ATen/autocast_mode.h>
#include <torch/library.h>
#include <torch/torch.h>

#include "ops/active_shift.h"
#include "ops/sparse_shift.h"

namespace fewshift {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct Sparse {
  static constexpr const char* kName = "sparse_shift";
  static constexpr const char* kOperator = "fewshift::sparse_shift";
  static constexpr const char* kGradX = "fewshift::sparse_shift_grad_x";
};

struct Active {
  static constexpr const char* kName = "active_shift";
  static constexpr const char* kOperator = "fewshift::active_shift";
  static constexpr const char* kGradX = "fewshift::active_shift_grad_x";
};

template <class Kind>
void check(const Tensor& x, const Tensor& displacement, int64_t stride) {
  const char* name = Kind::kName;
  TORCH_CHECK(x.dim() == 4, name, ": x must be [N,C,H,W], but has ", x.dim(), " dimensions");
  TORCH_CHECK(
      displacement.dim() == 2 && displacement.sym_size(1) == 2 && displacement.sym_size(0) == x.sym_size(1),
      name, ": displacement must be [C,2] with C = ", x.sym_size(1), ", but is ", displacement.sym_sizes());
  TORCH_CHECK(stride == 1 || stride == 2, name, ": stride must be 1 or 2, but is ", stride);
  const auto type = x.scalar_type();
  const bool half = type == at::kHalf && !x.is_cpu();
  TORCH_CHECK(type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || half, name,
              ": x must be float32, float64, bfloat16 or, on a GPU, float16, but is ", type);
  TORCH_CHECK(displacement.scalar_type() == at::kFloat || displacement.scalar_type() == at::kDouble, name,
              ": displacement must be float32 or float64, but is ", displacement.scalar_type());
}

template <class Signature>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

template <class Kind>
Tensor apply(const Tensor& x, const Tensor& displacement, int64_t stride) {
  check<Kind>(x, displacement, stride);
  static auto op = find<Tensor(const Tensor&, const Tensor&, int64_t)>(Kind::kOperator);
  return op.call(x, displacement, stride);
}

template <class Kind>
Tensor call_grad_x(const Tensor& grad, const Tensor& displacement, c10::SymInt height, c10::SymInt width,
                   int64_t stride) {
  static auto op =
      find<Tensor(const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, int64_t)>(Kind::kGradX);
  return op.call(grad, displacement, std::move(height), std::move(width), stride);
}

Tensor call_grad_displacement(const Tensor& grad, const Tensor& x, const Tensor& displacement,
                              int64_t stride) {
  static auto op =
      find<Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t)>("fewshift::shift_grad_displacement");
  return op.call(grad, x, displacement, stride);
}

template <class Kind>
struct ShiftFunction : torch::autograd::Function<ShiftFunction<Kind>> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& displacement,
                        int64_t stride) {
    check<Kind>(x, displacement, stride);
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool learns = displacement.requires_grad();
    // x is kept only where the displacement learns: frozen shifts cost no memory.
    context->save_for_backward({displacement, learns ? x : Tensor()});
    context->saved_data["height"] = x.sym_size(2);
    context->saved_data["width"] = x.sym_size(3);
    context->saved_data["stride"] = stride;
    return apply<Kind>(x, displacement, stride);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const int64_t stride = context->saved_data["stride"].toInt();
    Tensor grad_x, grad_displacement;
    if (context->needs_input_grad(0)) {
      grad_x = call_grad_x<Kind>(grads[0], saved[0], context->saved_data["height"].toSymInt(),
                                 context->saved_data["width"].toSymInt(), stride);
    }
    if (context->needs_input_grad(1)) {
      grad_displacement = call_grad_displacement(grads[0], saved[1], saved[0], stride);
    }
    return {grad_x, grad_displacement, Tensor()};
  }
};

template <class Kind>
Tensor autograd(const Tensor& x, const Tensor& displacement, int64_t stride) {
  return ShiftFunction<Kind>::apply(x, displacement, stride);
}

// x keeps its type, and the displacement its precision: a shift computes little or nothing.
template <class Kind, c10::DispatchKey key>
Tensor autocast(const Tensor& x, const Tensor& displacement, int64_t stride) {
  c10::impl::ExcludeDispatchKeyGuard guard(key);
  const bool low = displacement.scalar_type() == at::kBFloat16 || displacement.scalar_type() == at::kHalf;
  return apply<Kind>(x, low ? displacement.to(at::kFloat) : displacement, stride);
}

template <class Kind>
Tensor meta(const Tensor& x, const Tensor& displacement, int64_t stride) {
  check<Kind>(x, displacement, stride);
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
  return apply<Sparse>(x, displacement, stride);
}

Tensor active_shift(const Tensor& x, const Tensor& displacement, int64_t stride) {
  return apply<Active>(x, displacement, stride);
}

TORCH_LIBRARY(fewshift, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  for (const std::string name : {Sparse::kName, Active::kName}) {
    library.def((name + "(Tensor x, Tensor displacement, int stride=1) -> Tensor").c_str(), tags);
    library.def(
        (name + "_grad_x(Tensor grad, Tensor displacement, SymInt height, SymInt width, int stride) -> "
                "Tensor")
            .c_str(),
        tags);
  }
  library.def("shift_grad_displacement(Tensor grad, Tensor x, Tensor displacement, int stride) -> Tensor",
              tags);
}

TORCH_LIBRARY_IMPL(fewshift, Autograd, library) {
  library.impl("sparse_shift", autograd<Sparse>);
  library.impl("active_shift", autograd<Active>);
}

TORCH_LIBRARY_IMPL(fewshift, AutocastCPU, library) {
  library.impl("sparse_shift", autocast<Sparse, c10::DispatchKey::AutocastCPU>);
  library.impl("active_shift", autocast<Active, c10::DispatchKey::AutocastCPU>);
}

TORCH_LIBRARY_IMPL(fewshift, AutocastCUDA, library) {
  library.impl("sparse_shift", autocast<Sparse, c10::DispatchKey::AutocastCUDA>);
  library.impl("active_shift", autocast<Active, c10::DispatchKey::AutocastCUDA>);
}

TORCH_LIBRARY_IMPL(fewshift, Meta, library) {
  library.impl("sparse_shift", meta<Sparse>);
  library.impl("active_shift", meta<Active>);
  library.impl("sparse_shift_grad_x", meta_grad_x);
  library.impl("active_shift_grad_x", meta_grad_x);
  library.impl("shift_grad_displacement", meta_grad_displacement);
}

}  // namespace fewshift
