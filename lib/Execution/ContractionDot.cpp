//===- ContractionDot.cpp - Contractions of few rows --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ContractionEmitter.h"
#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

void ContractionEmitter::emitDot() {
  parts(columnBegin, columnEnd, plan.column.size, tiles.tileColumns,
        [&](Part columns) {
          parts(rowBegin, rowEnd, plan.row.size, tiles.tileRows,
                [&](Part rows) { emitDotTile(rows, columns); });
        });
}

/// Lanes along k, which is contiguous in both operands; they are added up at
/// the end.
void ContractionEmitter::emitDotTile(Part rows, Part columns) {
  Value a = add(arrayA.start, mul(rows.begin, plan.row.a));
  Value b = add(arrayB.start, mul(columns.begin, plan.column.b));
  auto multiply = [&](Value step, int64_t exist, ValueRange carried) {
    SmallVector<Value> x, next;
    for (int64_t row = 0; row < rows.count; ++row)
      x.push_back(
          loadVector(arrayA, add(add(a, step), row * plan.row.a), exist));
    for (int64_t column = 0; column < columns.count; ++column) {
      Value y =
          loadVector(arrayB, add(add(b, step), column * plan.column.b), exist);
      for (int64_t row = 0; row < rows.count; ++row)
        next.push_back(multiplyAdd(x[row], y, carried[next.size()]));
    }
    return next;
  };
  int64_t blocks = k.size / count, rest = k.size % count;
  SmallVector<Value> zeros(rows.count * columns.count, splat(scalar(0)));
  SmallVector<Value> total = loop(
      index(0), index(blocks), zeros, [&](Value block, ValueRange carried) {
        return multiply(mul(block, count), count, carried);
      });
  if (rest > 0)
    total = multiply(index(blocks * count), rest, total);
  for (auto [i, lanes] : llvm::enumerate(total)) {
    Value row = add(rows.begin, i % rows.count);
    Value column = add(columns.begin, i / rows.count);
    Value at = add(arrayC.start,
                   add(mul(row, plan.row.c), mul(column, plan.column.c)));
    Value sum = vector::ExtractOp::create(
        builder, loc,
        reduce(lanes,
               [&](Value x, Value y) -> Value {
                 return arith::AddFOp::create(builder, loc, x, y);
               }),
        int64_t(0));
    if (addsToInit(op))
      sum = arith::AddFOp::create(builder, loc, sum, loadNumber(arrayC, at));
    storeResult(sum, at);
  }
}
