//===- AttentionKernel.h - What the loops of an attention share -*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_ATTENTIONKERNEL_H
#define QUANTOPT_LIB_EXECUTION_ATTENTIONKERNEL_H

#include "Attention.h"
#include "Lanes.h"

namespace quantopt::execution {

/// Keys that are masked or not together; their scores are in the first cache.
inline constexpr int64_t blockKeys = 64;
/// Rows and vectors of results that stay in registers: 16 of 32 with AVX-512,
/// and enough sums in flight for a latency of 4 or 8.
inline constexpr int64_t tileRows = 8, tileVectors = 2;

/// Emits the function of one attention.
class AttentionKernel {
public:
  AttentionKernel(mlir::OpBuilder &builder, const Attention &attention);
  mlir::func::FuncOp emit();

private:
  /// An operand on buffers, from some place on.
  struct Buffer {
    const AttentionOperand *operand;
    mlir::Value memory;
    /// The element of the first row and key of a block of rows.
    mlir::Value base = {};
  };

  void chooseBlocks();
  int64_t rowStride(const AttentionOperand &operand) const {
    return rowDim ? operand.rowStrides[*rowDim] : 0;
  }
  void packKeys();
  void emitRows(mlir::Value number);
  void findLiveBlocks();
  void emitScoresOfBlock(mlir::Value block, int64_t keys);
  void emitProducts(mlir::Value block, mlir::Value row, int64_t rows,
                    int64_t vector, int64_t vectors, int64_t keys);
  void emitDots(mlir::Value block, mlir::Value row, int64_t vector,
                int64_t keys);
  mlir::Value emitScore(mlir::Value product, mlir::Value row, mlir::Value key,
                        int64_t count);
  void finishScores(mlir::Value product, mlir::Value block, mlir::Value row,
                    int64_t vector, int64_t keys);
  void spreadMaxima();
  void emitSumsOfBlock(mlir::Value block, int64_t keys);
  void addProducts(mlir::Value block, mlir::Value row, int64_t rows,
                   int64_t vector, int64_t vectors, int64_t keys);
  void storeResults();

  mlir::Value place(mlir::Value row, int64_t perRow, mlir::Value offset = {});
  mlir::Value at(const Buffer &buffer, mlir::Value row, mlir::Value offset);
  mlir::Value broadcastFrom(const Buffer &buffer, mlir::Value index);
  void forBlocks(bool masked,
                 llvm::function_ref<void(mlir::Value, int64_t)> body);
  /// Calls `body` with the first row and the number of rows of each tile.
  void forTiles(llvm::function_ref<void(mlir::Value, int64_t)> body);
  void forRows(llvm::function_ref<void(mlir::Value)> body);

  const Attention &a;
  Lanes l;
  mlir::func::FuncOp function;
  Buffer q, k, v, out;
  llvm::SmallVector<Buffer> others;
  std::optional<unsigned> rowDim; // the row dimension that is cut into blocks
  int64_t blockRows = 1, rowBlocks = 1, numBlocks = 1, depthVectors = 1,
          widthVectors = 1;
  bool packed = false, parallel = false;
  llvm::SmallVector<mlir::Value>
      rowPosition;     // of the block's first row, by dimension
  mlir::Value ownRows; // the first row that no block before has
  mlir::Value packedKeys, packedBase, scores, maxima, sums, results, live;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ATTENTIONKERNEL_H
