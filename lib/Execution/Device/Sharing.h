//===- Sharing.h - How many threads compute an element ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_SHARING_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_SHARING_H

#include "KernelParts.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::execution {

/// Who computes one element of a result. Only reductions of one result whose
/// combiner has a neutral element can be shared by more than a thread.
enum class Share { Thread, Warp, Block };

/// Elements of the result and iterations of the reduction loops, of an op of
/// static shape.
int64_t countOutputs(mlir::linalg::LinalgOp op);
int64_t countReductionSteps(mlir::linalg::LinalgOp op);

/// How an op is best shared by a block of `blockSize`, or by the whole grid if
/// that is 0. A warp reads along a contiguous reduction; a thread otherwise.
Share chooseShare(mlir::linalg::LinalgOp op, int64_t blockSize);

/// Blocks of `blockSize` threads that `op` is spread over.
int64_t countBlocks(mlir::linalg::LinalgOp op, Share share, int64_t blockSize);

/// The one op that joins two partial results of a reduction, if there is one
/// and it has a neutral element.
mlir::Operation *findCombiner(mlir::linalg::LinalgOp op);

/// Parallel loops: first those that the result does not know, then in the order
/// of its dimensions, so that neighbours write neighbours.
llvm::SmallVector<unsigned> orderParallelLoops(mlir::linalg::LinalgOp op);
llvm::SmallVector<unsigned> reductionLoops(mlir::linalg::LinalgOp op);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_SHARING_H
