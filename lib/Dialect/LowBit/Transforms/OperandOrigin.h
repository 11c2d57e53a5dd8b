//===- OperandOrigin.h - Where an operand comes from ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_OPERANDORIGIN_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_OPERANDORIGIN_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::lowbit {

/// What the operands of a contraction without a constant weight are, as the
/// reason for which it is no linear.
std::string describeOperands(mlir::linalg::LinalgOp op);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_OPERANDORIGIN_H
