//===- MatrixMath.h - Products of small matrices ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_MATRIXMATH_H
#define QUANTOPT_LIB_PTXEMULATOR_MATRIXMATH_H

#include <cstdint>

namespace quantopt::ptx {

/// c [16, n] += a [16, k] * b [k, n], in f32, each sum in the order of k. n is
/// a multiple of 8.
void multiplyAdd(const float *a, const float *b, float *c, unsigned n,
                 unsigned k);
/// The same on integers, which wrap.
void multiplyAdd(const int32_t *a, const int32_t *b, int32_t *c, unsigned n,
                 unsigned k);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_MATRIXMATH_H
