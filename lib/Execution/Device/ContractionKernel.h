//===- ContractionKernel.h - Float products on a GPU ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_CONTRACTIONKERNEL_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_CONTRACTIONKERNEL_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <optional>

namespace quantopt::execution {

/// The loops of a contraction by role, and the tile of the result that a block
/// computes.
struct ContractionTiling {
  llvm::SmallVector<unsigned> batch, rows, columns, sums;
  int64_t numBatches, numRows, numColumns, numSums;
  int64_t tile; ///< rows and columns of a tile

  int64_t rowTiles() const;
  int64_t columnTiles() const;
  int64_t blocks() const { return numBatches * rowTiles() * columnTiles(); }
  int64_t threads() const;
};

/// Nothing if the marked contraction is too thin for tiles.
std::optional<ContractionTiling> tileContraction(mlir::linalg::GenericOp op);

/// Replaces `op`, on buffers of static shape, by the code of one block:
/// operands go through shared memory, widened to f32, and each thread keeps 4
/// by 4 sums in registers, each of them added up in the order of the reduction.
void emitTiledContraction(mlir::RewriterBase &rewriter,
                          mlir::linalg::GenericOp op,
                          const ContractionTiling &tiling,
                          mlir::gpu::GPUFuncOp kernel, mlir::Value block,
                          mlir::Value thread);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_CONTRACTIONKERNEL_H
