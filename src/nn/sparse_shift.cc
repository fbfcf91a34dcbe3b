// SPDX-License-Identifier: Apache-2.0
#include "nn/sparse_shift.h"

#include "ops/sparse_shift.h"

namespace fewshift {

SparseShiftImpl::SparseShiftImpl(int64_t channels, int64_t stride_)
    : displacement(register_parameter("displacement", torch::zeros({channels, 2}))), stride(stride_) {}

torch::Tensor SparseShiftImpl::forward(const torch::Tensor& x) { return sparse_shift(x, displacement, stride); }

torch::Tensor SparseShiftImpl::shifts() const { return displacement.detach().round().to(torch::kLong); }

}  // namespace fewshift
