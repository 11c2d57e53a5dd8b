//===- Lookup.h - Look-ups in upstream dialects -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_LOOKUP_H
#define QUANTOPT_DIALECT_LOWBIT_IR_LOOKUP_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

namespace quantopt::lowbit {

/// Every lowbit.lookup in `root` -> constants of the planes of its weight, in
/// the layout that they have, and IR that decodes the rows that are asked for.
/// An error if a weight is not a lowbit.weight, or if its data is missing.
mlir::LogicalResult lowerLookups(mlir::Operation *root);

/// The planes of `weight` as constants, in the scheme's order.
mlir::FailureOr<llvm::SmallVector<mlir::Value>>
emitPlanes(mlir::OpBuilder &builder, WeightOp weight);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOOKUP_H
