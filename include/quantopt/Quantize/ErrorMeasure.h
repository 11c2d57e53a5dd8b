//===- ErrorMeasure.h - Error of a quantized linear -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The squared output error of a linear layer, from the second moments of its
// inputs: mean ||D x||^2 = tr(D H D^T) for D = dequantized - original.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_ERRORMEASURE_H
#define QUANTOPT_QUANTIZE_ERRORMEASURE_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// Per row r the value d_r H d_r^T of `d` [n, k] and the symmetric `h` [k, k]
/// (only its upper triangle is read). The products are taken by a f32 matrix
/// multiplication, the last sum in f64; a value that rounding makes negative
/// is 0. The same for any number of OpenMP threads.
std::vector<double> quadraticForms(std::span<const float> d, int64_t n,
                                   int64_t k, std::span<const float> h);

/// The sum of quadraticForms: tr(D H D^T).
double objective(std::span<const float> d, int64_t n, int64_t k,
                 std::span<const float> h);

/// Per row the value of quadraticForms for dequantized(matrix) - w.
std::vector<double> rowErrors(const QuantizedMatrix &matrix,
                              std::span<const float> w,
                              std::span<const float> h);

/// sum importance_j (dequantized - w)_ij^2 over the matrix, in f64; equal
/// weights 1 if `importance` is empty.
double weightedError(const QuantizedMatrix &matrix, std::span<const float> w,
                     std::span<const float> importance = {});

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_ERRORMEASURE_H
