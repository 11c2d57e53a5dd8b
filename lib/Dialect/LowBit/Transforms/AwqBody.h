//===- AwqBody.h - How an op carries a factor to its result -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQBODY_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQBODY_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::lowbit {

/// What has to become of one operand of an op: v -> f v + (f - 1) shift, for
/// positive factors f.
struct OperandScaling {
  mlir::OpOperand *operand;
  double shift;
};

/// The sets of inputs of `op` which, each changed as it says, turn the result r
/// into f r + (f - 1) shift, all other operands being as they were. Smaller
/// sets come first. Which f each element has is not looked at: it must be one
/// for all that meet in an element of the result.
///
/// The body is read as arithmetic: a product carries the factor of one side, a
/// sum that of both, so do maximum, minimum and selection, and so does a
/// reduction that starts from 0 or an infinity. A shift arises where a number
/// is added, as in the gain 1 + w.
llvm::SmallVector<llvm::SmallVector<OperandScaling>>
waysToScale(mlir::linalg::LinalgOp op, double shift);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQBODY_H
