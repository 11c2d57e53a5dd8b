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

/// Rows and vectors of results that stay in registers: 16 of 32 with AVX-512,
/// and enough sums in flight for a latency of 4 or 8.
struct AttentionTile {
  int64_t rows, vectors;
};

/// Emits the function of one attention.
class AttentionKernel {
public:
  AttentionKernel(mlir::OpBuilder &builder, const Attention &attention,
                  bool bf16Products);
  mlir::func::FuncOp emit();

private:
  /// An operand on buffers, from some place on.
  struct Buffer {
    const AttentionOperand *operand;
    mlir::Value memory;
    /// The element of the first row and key of a block of rows.
    mlir::Value base = {};
  };
  /// Keys that are masked or not together.
  struct KeyBlock {
    mlir::Value number;   // among all
    mlir::Value inScores; // where its scores begin in those of a row
    int64_t keys;
  };

  void chooseBlocks();
  int64_t countSteps() const;
  int64_t rowStride(const AttentionOperand &operand) const {
    return rowDim ? operand.rowStrides[*rowDim] : 0;
  }
  bool maskVaries(llvm::function_ref<bool(unsigned)> isAsked) const;
  void findSharedLiveBlocks();
  void packMatrices(
      const AttentionOperand &operand, int64_t blockSize,
      llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> pack);
  int64_t countMatrices(const AttentionOperand &operand) const;
  void packKeys();
  void packValues();
  void roundQueries();
  mlir::Value matrixNumber(const AttentionOperand &operand);
  void takeRows(mlir::Value number);
  void emitRows(mlir::Value number);
  void findLiveBlocks();
  void emitScoresByColumns(const KeyBlock &block);
  void emitScoresByDots(const KeyBlock &block);
  void emitProducts(const KeyBlock &block, mlir::Value row, int64_t rows,
                    int64_t vector, int64_t vectors);
  void prefetchNext(const Buffer &buffer, mlir::Value from);
  void emitDots(const KeyBlock &block, mlir::Value row, int64_t rows,
                mlir::Value along, int64_t count);
  mlir::Value emitScore(mlir::Value product, mlir::Value row, mlir::Value key,
                        int64_t count);
  void finishScores(mlir::Value product, const KeyBlock &block, mlir::Value row,
                    mlir::Value along, int64_t count);
  void spreadMaxima();
  void emitSumsOfBlock(const KeyBlock &block);
  mlir::Value loadWords(mlir::Value memory, mlir::Value index);
  mlir::Value addProduct(mlir::Value x, mlir::Value y, mlir::Value sum);
  void addProducts(const KeyBlock &block, mlir::Value row, int64_t rows,
                   int64_t vector, int64_t vectors);
  mlir::Value sumOfRow(mlir::Value row);
  void storeRow(mlir::Value row, mlir::ValueRange values, mlir::Value sum);
  void storeResults();
  void storePart(mlir::Value number);
  void mergeParts(mlir::Value number);

  mlir::Value place(mlir::Value row, int64_t perRow, mlir::Value offset = {});
  mlir::Value placeOfResult(mlir::Value row, int64_t vector);
  mlir::Value placeOfPart(mlir::Value number, mlir::Value row, int64_t vector);
  mlir::Value at(const Buffer &buffer, mlir::Value row, mlir::Value offset);
  mlir::Value broadcastFrom(const Buffer &buffer, mlir::Value index);
  mlir::Value firstKey(const KeyBlock &block);
  void forAllBlocks(llvm::function_ref<void(const KeyBlock &)> body);
  /// Those of this part of the keys, which are not dead.
  void forOwnBlocks(llvm::function_ref<void(const KeyBlock &)> body);
  /// Calls `body` with the first row and the number of rows of each tile.
  void forTiles(llvm::function_ref<void(mlir::Value, int64_t)> body);
  void forRows(llvm::function_ref<void(mlir::Value)> body);

  const Attention &a;
  Lanes l;
  mlir::func::FuncOp function;
  Buffer q, k, v, out;
  llvm::SmallVector<Buffer> others;
  std::optional<unsigned> rowDim; // the row dimension that is cut into blocks
  int64_t blockRows = 1, rowBlocks = 1, blockKeys = 1, numBlocks = 1,
          depthVectors = 1, widthVectors = 1;
  int64_t parts = 1;       // of the keys, by turns of blocks
  int64_t scoreStride = 1; // from a row's scores to the next one's
  AttentionTile tile = {1, 1};
  /// Whether the products of packed keys and values are of bf16, two a lane.
  bool halves = false;
  int64_t wordSize = 1, wordLanes = Lanes::count; // elements
  bool packed = false, parallel = false;
  bool sharedMask = false; // by all heads
  llvm::SmallVector<mlir::Value>
      rowPosition;     // of the block's first row, by dimension
  mlir::Value ownRows; // the first row that no block before has
  mlir::Value part;    // which part of the keys
  mlir::Value packedKeys, packedBase, scores, maxima, sums, results, live,
      liveBase;
  mlir::Value packedValues, valuesBase, qHalves, weightHalves; // of bf16
  mlir::Value partials; // maxima, sums and results of parts
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ATTENTIONKERNEL_H
