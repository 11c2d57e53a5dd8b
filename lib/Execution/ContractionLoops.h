//===- ContractionLoops.h - A contraction as vector code --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_CONTRACTIONLOOPS_H
#define QUANTOPT_LIB_EXECUTION_CONTRACTIONLOOPS_H

#include "ContractionTiles.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace quantopt::execution {

/// Whether emitContraction() knows everything it needs: sizes and strides of
/// the marked contraction `op`, on buffers, are static, and nothing is empty.
bool hasStaticContraction(mlir::linalg::GenericOp op);

/// Replaces `op` by vector code that calls nothing: f32 sums of f32, bf16 or
/// f16 operands at any strides, c rounded once. Returns the loop over tasks,
/// which may run in any order or at once. Buffers of a task are allocated in
/// it; they are small enough for the stack.
mlir::scf::ForallOp emitContraction(mlir::RewriterBase &rewriter,
                                    mlir::linalg::GenericOp op,
                                    const VectorRegisters &registers);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_CONTRACTIONLOOPS_H
