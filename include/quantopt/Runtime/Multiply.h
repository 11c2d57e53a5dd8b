//===- Multiply.h - y = x * W^T in fixed panels -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The product of a linear layer on the host. The rows of W are cut into panels
// whose size depends on the shape alone; each panel is one BLAS call on one
// thread. So the result is the same, bit for bit, whatever the number of
// threads and whoever calls.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_MULTIPLY_H
#define QUANTOPT_RUNTIME_MULTIPLY_H

#include "quantopt/Runtime/Matrix.h"

#include <functional>

namespace quantopt {

/// Writes rows [begin, end) of a weight [n, k] to `out` as floats. Called from
/// several threads at once.
using WeightRows = std::function<void(int64_t begin, int64_t end, float *out)>;

/// Rows of W that one BLAS call takes.
int64_t panelRows(int64_t n);

/// y [m, n] = x [m, k] * W^T with W [n, k]. Sums are f32, y is rounded once.
/// Runs on omp_get_max_threads() threads.
void multiplyTransposed(MatrixRef x, MatrixRef weight, MutableMatrixRef y);

/// The same where the weight exists as floats one panel at a time only.
void multiplyTransposed(MatrixRef x, const WeightRows &weight,
                        MutableMatrixRef y);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_MULTIPLY_H
