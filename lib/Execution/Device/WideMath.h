//===- WideMath.h - Elementary functions in f64 -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_WIDEMATH_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_WIDEMATH_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace quantopt::execution {

/// Whether buildWide() knows the function.
bool hasWideForm(mlir::Operation *op);

/// Function `op` of the math dialect, of arguments x in f64. The result is
/// within a few units in the last place.
mlir::Value buildWide(mlir::OpBuilder &builder, mlir::Operation *op,
                      mlir::ValueRange x);

/// remf of f64; exact for quotients below 2^52.
mlir::Value buildWideRemainder(mlir::OpBuilder &builder, mlir::Location loc,
                               mlir::Value x, mlir::Value y);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_WIDEMATH_H
