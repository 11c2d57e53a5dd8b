//===- ContractionEmitter.h - Code of one contraction -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_CONTRACTIONEMITTER_H
#define QUANTOPT_LIB_EXECUTION_CONTRACTIONEMITTER_H

#include "ContractionTiles.h"
#include "Lanes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace quantopt::execution {

/// Builds the loops of a contraction, cut as its tiles say.
class ContractionEmitter : private Lanes {
public:
  ContractionEmitter(mlir::OpBuilder &builder, mlir::linalg::GenericOp op,
                     const ContractionTiles &tiles, bool hasFma)
      : Lanes(builder, op.getLoc()), op(op), tiles(tiles), plan(tiles.plan),
        k(tiles.innerSum()), hasFma(hasFma) {}

  /// Before the op; returns the loop over tasks.
  mlir::scf::ForallOp run();

private:
  using Value = mlir::Value;

  /// An array without dimensions, and where the current batch begins in it.
  struct Array {
    Value flat, start;
  };
  /// Rows or columns from `begin`; `count` of them is known.
  struct Part {
    Value begin;
    int64_t count;
  };

  using Lanes::add;
  Value add(Value x, int64_t y) { return add(x, index(y)); }
  Value multiplyAdd(Value x, Value y, Value sum);
  Value loadNumber(const Array &array, Value at) {
    return toF32(load(array.flat, at));
  }
  Value loadVector(const Array &array, Value at, int64_t exist = count) {
    return toF32(loadLanes(array.flat, at, exist));
  }
  Array takeArray(Value buffer);
  Array allocate(int64_t numbers);
  void storeResult(Value sum, Value at);
  void parts(Value begin, Value end, int64_t total, int64_t step,
             llvm::function_ref<void(Part)> body);

  // Outer: ContractionLoops.cpp
  void emitOuter();
  void forEachPass(
      llvm::function_ref<void(Value begin, Value end, Value isFirst)> body);
  void emitTile(Part rows, Part columns, Value begin, Value end, Value isFirst);
  void storeTile(mlir::ValueRange tile, Part rows, Part columns, Value isFirst);
  void forEachElement(llvm::function_ref<void(Value inC, Value inSums)> body);

  // ContractionPacking.cpp
  void packColumns(Value begin, Value end);
  void transposeColumns(Part columns, Value to, Value begin, Value end);
  void packRows(Part rows, Value begin, Value end);

  // ContractionDot.cpp
  void emitDot();
  void emitDotTile(Part rows, Part columns);

  mlir::linalg::GenericOp op;
  const ContractionTiles &tiles;
  const ContractionPlan &plan;
  const ContractionLoop k;
  const bool hasFma;

  Array arrayA, arrayB, arrayC;
  // Of the task.
  Value rowBegin, rowEnd, columnBegin, columnEnd;
  /// Tile by tile: [taskColumns / tileColumns][depth][tileColumns].
  Array packedB;
  Array packedA; ///< [tileRows][packedRowStride]
  Array sums;    ///< [taskRows][taskColumns]
  int64_t packedRowStride = 0;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_CONTRACTIONEMITTER_H
