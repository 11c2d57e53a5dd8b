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

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_LOOPEMISSION_H
