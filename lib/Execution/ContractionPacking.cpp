//===- ContractionPacking.cpp - Operands as tiles read them -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ContractionEmitter.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Copies the task's columns for steps [begin, end) of k. What is missing in
/// the last vector is 0.
void ContractionEmitter::packColumns(Value begin, Value end) {
  // The shortest pass decides, so that a transposed block never reads outside.
  int64_t shortest = k.size % tiles.depth ? k.size % tiles.depth : tiles.depth;
  bool transposes = k.b == 1 && plan.column.b != 1 && shortest >= count;
  parts(columnBegin, columnEnd, plan.column.size, count, [&](Part columns) {
    Value column = sub(columns.begin, columnBegin);
    Value inTile = rem(column, tiles.tileColumns);
    Value to = add(mul(sub(column, inTile), tiles.depth), inTile);
    if (transposes)
      return transposeColumns(columns, to, begin, end);
    loop(begin, end, [&](Value step) {
      Value at = add(arrayB.start,
                     add(mul(columns.begin, plan.column.b), mul(step, k.b)));
      Value line;
      if (plan.column.b == 1) {
        line = loadVector(arrayB, at, columns.count);
      } else {
        SmallVector<Value> numbers(count, scalar(0));
        for (int64_t i = 0; i < columns.count; ++i)
          numbers[i] = loadNumber(arrayB, add(at, i * plan.column.b));
        line = vector::FromElementsOp::create(
            builder, loc, type(builder.getF32Type()), numbers);
      }
      storeLanes(line, packedB.flat,
                 add(to, mul(sub(step, begin), tiles.tileColumns)));
    });
  });
}

/// The same where k is contiguous: square blocks are transposed in registers.
/// The last block overlaps the one before.
void ContractionEmitter::transposeColumns(Part columns, Value to, Value begin,
                                          Value end) {
  Value last = sub(end, index(count));
  loop(
      begin, end,
      [&](Value block) {
        Value step = minimum(block, last);
        Value at =
            add(arrayB.start, add(mul(columns.begin, plan.column.b), step));
        SmallVector<Value> lines(count, splat(scalar(0)));
        for (int64_t i = 0; i < columns.count; ++i)
          lines[i] = loadVector(arrayB, add(at, i * plan.column.b));
        transpose(lines);
        Value first = add(to, mul(sub(step, begin), tiles.tileColumns));
        for (auto [i, line] : llvm::enumerate(lines))
          storeLanes(line, packedB.flat, add(first, i * tiles.tileColumns));
      },
      count);
}

/// Copies rows for steps [begin, end) of k, where k is contiguous.
void ContractionEmitter::packRows(Part rows, Value begin, Value end) {
  Value length = sub(end, begin);
  Value whole = sub(length, rem(length, count));
  for (int64_t row = 0; row < rows.count; ++row) {
    Value from =
        add(add(arrayA.start, begin), mul(add(rows.begin, row), plan.row.a));
    int64_t to = row * packedRowStride;
    loop(
        index(0), whole,
        [&](Value at) {
          storeLanes(loadVector(arrayA, add(from, at)), packedA.flat,
                     add(at, to));
        },
        count);
    loop(whole, length, [&](Value at) {
      store(loadNumber(arrayA, add(from, at)), packedA.flat, add(at, to));
    });
  }
}
