//===- CooperativeLoops.h - An op shared among threads ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::execution {

/// Who computes one element of a result. Only reductions of one result whose
/// combiner has a neutral element can be shared by more than a thread.
enum class Share { Thread, Warp, Block };

inline constexpr int64_t warpSize = 32;

/// The threads that run an op together: those of one block, or all.
struct Team {
  mlir::gpu::GPUFuncOp kernel; ///< gets the shared memory that is needed
  mlir::Value thread;          ///< number within the block
  mlir::Value block;           ///< number of the block; null: a block alone
  int64_t blockSize;           ///< a multiple of warpSize
  int64_t numBlocks = 1;
};

/// Elements of the result and iterations of the reduction loops, of an op of
/// static shape.
int64_t countOutputs(mlir::linalg::LinalgOp op);
int64_t countReductionSteps(mlir::linalg::LinalgOp op);

/// How an op is best shared by a block of `blockSize`, or by the whole grid if
/// that is 0. A warp reads along a contiguous reduction; a thread otherwise.
Share chooseShare(mlir::linalg::LinalgOp op, int64_t blockSize);

/// Blocks of `blockSize` threads that `op` is spread over.
int64_t countBlocks(mlir::linalg::LinalgOp op, Share share, int64_t blockSize);

/// Replaces `op`, on buffers of static shape, by loops in which each thread of
/// the team does its part. The order of a sum follows from the op's shape and
/// `share` alone. A marked contraction sums in f32.
mlir::LogicalResult emitCooperativeLoops(mlir::RewriterBase &rewriter,
                                         mlir::linalg::LinalgOp op, Share share,
                                         const Team &team);

/// Shared memory of a kernel, aligned for vectors.
mlir::Value addSharedMemory(mlir::gpu::GPUFuncOp kernel, mlir::Location loc,
                            llvm::ArrayRef<int64_t> shape, mlir::Type element);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H
