//===- WeightLayout.h - Weights in another layout ---------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_WEIGHTLAYOUT_H
#define QUANTOPT_DIALECT_LOWBIT_IR_WEIGHTLAYOUT_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

namespace quantopt::lowbit {

/// Converts the planes of `op`, and its type in place: the values stay the
/// same, bit for bit. An error if no scheme that `layout` holds has them, or if
/// `op` has users other than lowbit.linear and lowbit.lookup, whose types would
/// change.
mlir::LogicalResult convertLayout(WeightOp op, Layout layout);

/// The planes of weights of one type in `layout`, in the scheme's order: those
/// of all lie one after the other, [weights, ...]. The ops stay as they are;
/// the same weights give the same constants. Errors as above.
mlir::FailureOr<llvm::SmallVector<mlir::ElementsAttr>>
joinPlanes(llvm::ArrayRef<WeightOp> weights, Layout layout);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_WEIGHTLAYOUT_H
