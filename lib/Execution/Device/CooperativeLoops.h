//===- CooperativeLoops.h - An op shared among threads ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H

#include "Sharing.h"

namespace quantopt::execution {

/// The threads that run an op together: those of one block, or all.
struct Team {
  mlir::gpu::GPUFuncOp kernel; ///< gets the shared memory that is needed
  mlir::Value thread;          ///< number within the block
  mlir::Value block;           ///< number of the block; null: a block alone
  int64_t blockSize;           ///< a multiple of warpSize
  int64_t numBlocks = 1;
};

/// Replaces `op`, on buffers of static shape, by loops in which each thread of
/// the team does its part. The order of a sum follows from the op's shape and
/// `share` alone. A marked contraction sums in f32.
mlir::LogicalResult emitCooperativeLoops(mlir::RewriterBase &rewriter,
                                         mlir::linalg::LinalgOp op, Share share,
                                         const Team &team);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_COOPERATIVELOOPS_H
