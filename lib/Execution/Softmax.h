//===- Softmax.h - Finds the softmax of rows --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_SOFTMAX_H
#define QUANTOPT_LIB_EXECUTION_SOFTMAX_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <optional>

namespace quantopt::execution {

/// What is behind reshapes.
mlir::Value skipReshapes(mlir::Value value);
mlir::linalg::GenericOp getGeneric(mlir::Value value);

/// Whether `op` is a generic over the elements of rows: parallel but for the
/// last loop if `reduces`, its result in order.
bool goesOverRows(mlir::linalg::GenericOp op, bool reduces);

/// exp(t - max t) / sum exp(t - max t) of each row of t, in f32 up to the
/// quotient. Reshapes may lie between the ops.
struct Softmax {
  mlir::linalg::GenericOp maximum, exponentials, sums, quotients;

  /// t.
  mlir::Value scores() { return skipReshapes(maximum.getDpsInputs()[0]); }
};

/// The softmax whose quotients `value` is.
std::optional<Softmax> matchSoftmax(mlir::Value value);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_SOFTMAX_H
