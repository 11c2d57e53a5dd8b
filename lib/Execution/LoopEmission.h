//===- LoopEmission.h - An op on buffers as loops ---------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_LOOPEMISSION_H
#define QUANTOPT_LIB_EXECUTION_LOOPEMISSION_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::execution {

/// Replaces `op`, on buffers, by scf.for loops in an order and a form that the
/// loop vectoriser likes: contiguous innermost, sums carried in registers and
/// free to be reordered (in the same way on every run).
mlir::LogicalResult emitLoops(mlir::RewriterBase &rewriter,
                              mlir::linalg::LinalgOp op);

/// A copy of the body of `op` for one point of its loops, at `position`: its
/// operands are what `load` gives, those for results are `inits` if there are
/// any. Returns what the body yields.
llvm::SmallVector<mlir::Value>
cloneBody(mlir::RewriterBase &rewriter, mlir::linalg::LinalgOp op,
          llvm::ArrayRef<mlir::Value> position, mlir::ValueRange inits,
          llvm::function_ref<mlir::Value(mlir::OpOperand &)> load);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_LOOPEMISSION_H
