//===- ContractionLoops.cpp - A contraction as vector code --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ContractionLoops.h"
#include "ContractionEmitter.h"
#include "RuntimeCalls.h"
#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

Value ContractionEmitter::multiplyAdd(Value x, Value y, Value sum) {
  if (hasFma)
    return fma(x, y, sum);
  Value product = arith::MulFOp::create(builder, loc, x, y);
  return arith::AddFOp::create(builder, loc, product, sum);
}

ContractionEmitter::Array ContractionEmitter::takeArray(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t offset, last = 0;
  SmallVector<int64_t> strides;
  (void)type.getStridesAndOffset(strides, offset);
  for (auto [size, stride] : llvm::zip(type.getShape(), strides))
    last += (size - 1) * stride;
  OpFoldResult start = builder.getIndexAttr(offset);
  if (ShapedType::isDynamic(offset))
    start = memref::ExtractStridedMetadataOp::create(builder, loc, buffer)
                .getConstifiedMixedOffset();
  auto flatType = MemRefType::get(
      {last + 1}, type.getElementType(),
      StridedLayoutAttr::get(builder.getContext(), offset, {1}));
  Value flat = memref::ReinterpretCastOp::create(
      builder, loc, flatType, buffer, start, {builder.getIndexAttr(last + 1)},
      {builder.getIndexAttr(1)});
  return {flat, index(0)};
}

/// Freed by what comes after; LowerKernels moves it to the stack.
ContractionEmitter::Array ContractionEmitter::allocate(int64_t numbers) {
  return {heap(numbers, builder.getF32Type()), index(0)};
}

/// In the type of c.
void ContractionEmitter::storeResult(Value sum, Value at) {
  Type element = getElementTypeOrSelf(arrayC.flat.getType());
  store(fromF32(sum, element), arrayC.flat, at);
}

/// Goes from `begin`, a multiple of `step`, to `end` in steps; the last of
/// `total` may be shorter, and has code of its own.
void ContractionEmitter::parts(Value begin, Value end, int64_t total,
                               int64_t step, function_ref<void(Part)> body) {
  int64_t whole = total / step * step, rest = total % step;
  if (whole > 0)
    loop(
        begin, rest ? minimum(end, index(whole)) : end,
        [&](Value at) { body({at, step}); }, step);
  if (rest > 0)
    ifTrue(equal(end, index(total)), [&] { body({index(whole), rest}); });
}

scf::ForallOp ContractionEmitter::run() {
  arrayA = takeArray(op.getInputs()[tiles.swapped]);
  arrayB = takeArray(op.getInputs()[!tiles.swapped]);
  arrayC = takeArray(op.getOutputs()[0]);
  SmallVector<OpFoldResult> low, high, step;
  auto addLoop = [&](int64_t size, int64_t by) {
    low.push_back(builder.getIndexAttr(0));
    high.push_back(builder.getIndexAttr(size));
    step.push_back(builder.getIndexAttr(by));
  };
  for (const ContractionLoop &batch : plan.batch)
    addLoop(batch.size, 1);
  addLoop(plan.row.size, tiles.taskRows);
  addLoop(plan.column.size, tiles.taskColumns);
  auto tasks = scf::ForallOp::create(builder, loc, low, high, step,
                                     ValueRange(), std::nullopt);
  builder.setInsertionPointToStart(tasks.getBody());
  SmallVector<Value> at = tasks.getInductionVars();
  for (auto [loop, position] : llvm::zip(plan.batch, at)) {
    arrayA.start = add(arrayA.start, mul(position, loop.a));
    arrayB.start = add(arrayB.start, mul(position, loop.b));
    arrayC.start = add(arrayC.start, mul(position, loop.c));
  }
  rowBegin = at[at.size() - 2];
  columnBegin = at.back();
  rowEnd = minimum(add(rowBegin, tiles.taskRows), index(plan.row.size));
  columnEnd =
      minimum(add(columnBegin, tiles.taskColumns), index(plan.column.size));
  if (tiles.form == ContractionForm::Outer)
    emitOuter();
  else
    emitDot();
  return tasks;
}

//===----------------------------------------------------------------------===//
// Outer: lanes along columns
//===----------------------------------------------------------------------===//

/// Calls `body` in loops over what is summed, with a piece of the innermost
/// sum. `isFirst` is null if there is only one.
void ContractionEmitter::forEachPass(
    function_ref<void(Value begin, Value end, Value isFirst)> body) {
  OpBuilder::InsertionGuard guard(builder);
  Value any; // a number that is 0 in the first pass
  Value startOfA = arrayA.start, startOfB = arrayB.start;
  auto enter = [&](int64_t size, int64_t by) {
    auto op =
        scf::ForOp::create(builder, loc, index(0), index(size), index(by));
    builder.setInsertionPointToStart(op.getBody());
    Value at = op.getInductionVar();
    any = any ? add(any, at) : at;
    return at;
  };
  if (!plan.sums.empty())
    for (const ContractionLoop &outer : ArrayRef(plan.sums).drop_back()) {
      Value at = enter(outer.size, 1);
      arrayA.start = add(arrayA.start, mul(at, outer.a));
      arrayB.start = add(arrayB.start, mul(at, outer.b));
    }
  Value begin = index(0), end = index(k.size);
  if (tiles.depth < k.size) {
    begin = enter(k.size, tiles.depth);
    end = minimum(add(begin, tiles.depth), end);
  }
  body(begin, end, any ? equal(any, index(0)) : Value());
  arrayA.start = startOfA;
  arrayB.start = startOfB;
}

void ContractionEmitter::emitOuter() {
  if (tiles.packB)
    packedB = allocate(tiles.depth * tiles.taskColumns);
  if (tiles.packA) {
    // Rows a little apart, so that they do not share places in the cache.
    packedRowStride = llvm::alignTo(tiles.depth, count) + count;
    packedA = allocate(tiles.tileRows * packedRowStride);
  }
  if (!tiles.inPlace)
    sums = allocate(tiles.taskRows * tiles.taskColumns);
  if (!tiles.inPlace && addsToInit(op))
    forEachElement([&](Value inC, Value inSums) {
      store(loadNumber(arrayC, inC), sums.flat, inSums);
    });
  forEachPass([&](Value begin, Value end, Value isFirst) {
    if (tiles.packB)
      packColumns(begin, end);
    parts(rowBegin, rowEnd, plan.row.size, tiles.tileRows, [&](Part rows) {
      if (tiles.packA)
        packRows(rows, begin, end);
      parts(
          columnBegin, columnEnd, plan.column.size, tiles.tileColumns,
          [&](Part columns) { emitTile(rows, columns, begin, end, isFirst); });
    });
  });
  if (!tiles.inPlace)
    forEachElement([&](Value inC, Value inSums) {
      storeResult(load(sums.flat, inSums), inC);
    });
}

/// A tile of c: sums in registers over steps [begin, end) of k.
void ContractionEmitter::emitTile(Part rows, Part columns, Value begin,
                                  Value end, Value isFirst) {
  int64_t vectors = llvm::divideCeil(columns.count, count);
  const Array &a = tiles.packA ? packedA : arrayA;
  int64_t rowStride = tiles.packA ? packedRowStride : plan.row.a;
  int64_t stepOfA = tiles.packA ? 1 : k.a;
  Value startOfA = a.start;
  if (!tiles.packA)
    startOfA = add(startOfA, add(mul(rows.begin, plan.row.a), mul(begin, k.a)));
  const Array &b = tiles.packB ? packedB : arrayB;
  int64_t stepOfB = tiles.packB ? tiles.tileColumns : k.b;
  Value startOfB = tiles.packB
                       ? mul(sub(columns.begin, columnBegin), tiles.depth)
                       : add(b.start, add(columns.begin, mul(begin, k.b)));

  SmallVector<Value> zeros(rows.count * vectors, splat(scalar(0)));
  SmallVector<Value> tile = loop(
      index(0), sub(end, begin), zeros, [&](Value step, ValueRange carried) {
        SmallVector<Value> line, next;
        Value at = add(startOfB, mul(step, stepOfB));
        for (int64_t v = 0; v < vectors; ++v)
          line.push_back(loadVector(b, add(at, v * count)));
        Value number = add(startOfA, mul(step, stepOfA));
        for (int64_t row = 0; row < rows.count; ++row) {
          Value x = splat(loadNumber(a, add(number, row * rowStride)));
          for (int64_t v = 0; v < vectors; ++v)
            next.push_back(multiplyAdd(x, line[v], carried[row * vectors + v]));
        }
        return next;
      });
  storeTile(tile, rows, columns, isFirst);
}

void ContractionEmitter::storeTile(ValueRange tile, Part rows, Part columns,
                                   Value isFirst) {
  int64_t vectors = tile.size() / rows.count;
  const Array &to = tiles.inPlace ? arrayC : sums;
  int64_t rowStride = tiles.inPlace ? plan.row.c : tiles.taskColumns;
  Value origin =
      tiles.inPlace
          ? add(to.start, add(mul(rows.begin, rowStride), columns.begin))
          : add(mul(sub(rows.begin, rowBegin), rowStride),
                sub(columns.begin, columnBegin));
  auto storeAll = [&](bool adds) {
    for (auto [i, sum] : llvm::enumerate(tile)) {
      Value at = add(origin, i / vectors * rowStride + i % vectors * count);
      Value value = sum;
      if (adds)
        value = arith::AddFOp::create(builder, loc, value, loadVector(to, at));
      storeLanes(value, to.flat, at);
    }
  };
  if (addsToInit(op))
    return storeAll(/*adds=*/true);
  if (!isFirst)
    return storeAll(/*adds=*/false);
  auto branch =
      scf::IfOp::create(builder, loc, isFirst, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  storeAll(/*adds=*/false);
  builder.setInsertionPointToStart(branch.elseBlock());
  storeAll(/*adds=*/true);
}

/// Of the task.
void ContractionEmitter::forEachElement(function_ref<void(Value, Value)> body) {
  loop(rowBegin, rowEnd, [&](Value row) {
    loop(columnBegin, columnEnd, [&](Value column) {
      body(add(arrayC.start,
               add(mul(row, plan.row.c), mul(column, plan.column.c))),
           add(mul(sub(row, rowBegin), tiles.taskColumns),
               sub(column, columnBegin)));
    });
  });
}

//===----------------------------------------------------------------------===//
// The op
//===----------------------------------------------------------------------===//

bool execution::hasStaticContraction(linalg::GenericOp op) {
  for (Type type : op->getOperandTypes()) {
    auto buffer = cast<MemRefType>(type);
    int64_t offset;
    SmallVector<int64_t> strides;
    if (!buffer.hasStaticShape() ||
        failed(buffer.getStridesAndOffset(strides, offset)) ||
        ShapedType::isDynamicShape(strides))
      return false;
  }
  return !llvm::is_contained(op.getStaticLoopRanges(), 0);
}

scf::ForallOp execution::emitContraction(RewriterBase &rewriter,
                                         linalg::GenericOp op,
                                         const VectorRegisters &registers) {
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<ContractionLoop> loops;
  for (auto [dim, size] : llvm::enumerate(op.getStaticLoopRanges())) {
    AffineExpr expr = rewriter.getAffineDimExpr(dim);
    auto stride = [&](unsigned operand) -> int64_t {
      int64_t offset;
      SmallVector<int64_t> strides;
      (void)cast<MemRefType>(op->getOperand(operand).getType())
          .getStridesAndOffset(strides, offset);
      std::optional<unsigned> position = maps[operand].getResultPosition(expr);
      return position ? strides[*position] : 0;
    };
    loops.push_back({size, stride(0), stride(1), stride(2)});
  }
  auto kind = [&](unsigned operand) {
    return *getFloatKind(getElementTypeOrSelf(op->getOperand(operand)));
  };
  ContractionTiles tiles =
      chooseTiles(loops, kind(0), kind(1), kind(2), registers);
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  scf::ForallOp tasks =
      ContractionEmitter(rewriter, op, tiles, registers.hasFma).run();
  rewriter.eraseOp(op);
  return tasks;
}
