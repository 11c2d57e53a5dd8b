//===- ContractionKernel.cpp - Float products on a GPU --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ContractionKernel.h"

#include "KernelParts.h"
#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Of the sums that are in shared memory at a time.
static constexpr int64_t depth = 16;
/// Rows and columns of a thread.
static constexpr int64_t micro = 4;
/// Products with fewer rows or columns gain nothing from tiles.
static constexpr int64_t minTiled = 16;
/// As many blocks keep a GPU busy; below, tiles are smaller.
static constexpr int64_t wantedBlocks = 128;

int64_t ContractionTiling::rowTiles() const {
  return llvm::divideCeil(numRows, tile);
}
int64_t ContractionTiling::columnTiles() const {
  return llvm::divideCeil(numColumns, tile);
}
int64_t ContractionTiling::threads() const {
  return tile / micro * (tile / micro);
}

std::optional<ContractionTiling>
execution::tileContraction(linalg::GenericOp op) {
  ContractionTiling tiling;
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (unsigned loop = 0; loop < sizes.size(); ++loop) {
    bool a = maps[0].isFunctionOfDim(loop), b = maps[1].isFunctionOfDim(loop);
    if (!maps[2].isFunctionOfDim(loop))
      tiling.sums.push_back(loop);
    else
      (a == b ? tiling.batch
       : a    ? tiling.rows
              : tiling.columns)
          .push_back(loop);
  }
  // In the order in which the result has them.
  auto byResult = [&](SmallVector<unsigned> &loops) {
    llvm::sort(loops, [&](unsigned x, unsigned y) {
      auto position = [&](unsigned loop) {
        return *maps[2].getResultPosition(
            getAffineDimExpr(loop, op.getContext()));
      };
      return position(x) < position(y);
    });
  };
  byResult(tiling.batch);
  byResult(tiling.rows);
  byResult(tiling.columns);
  auto count = [&](ArrayRef<unsigned> loops) {
    int64_t product = 1;
    for (unsigned loop : loops)
      product *= sizes[loop];
    return product;
  };
  tiling.numBatches = count(tiling.batch);
  tiling.numRows = count(tiling.rows);
  tiling.numColumns = count(tiling.columns);
  tiling.numSums = count(tiling.sums);
  if (tiling.numRows < minTiled || tiling.numColumns < minTiled)
    return std::nullopt;
  tiling.tile = 64;
  if (tiling.blocks() < wantedBlocks)
    tiling.tile = 32;
  return tiling;
}

namespace {

class Emitter {
public:
  Emitter(RewriterBase &rewriter, linalg::GenericOp op,
          const ContractionTiling &tiling, gpu::GPUFuncOp kernel, Value thread)
      : rewriter(rewriter), op(op), loc(op.getLoc()), tiling(tiling),
        kernel(kernel), thread(thread), sizes(op.getStaticLoopRanges()),
        position(sizes.size()) {}

  void run(Value block);

private:
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(rewriter, loc, value);
  }
  Value add(Value a, Value b) {
    return arith::AddIOp::create(rewriter, loc, a, b);
  }
  Value times(Value a, int64_t b) {
    return arith::MulIOp::create(rewriter, loc, a, constant(b));
  }
  Value quotient(Value a, int64_t b) {
    return arith::DivUIOp::create(rewriter, loc, a, constant(b));
  }
  Value remainder(Value a, int64_t b) {
    return arith::RemUIOp::create(rewriter, loc, a, constant(b));
  }
  /// `condition` and value < limit; null is true.
  Value below(Value condition, Value value, int64_t limit);
  void setPosition(ArrayRef<unsigned> loops, Value linear);
  SmallVector<Value> indices(unsigned operand);
  void loadTile(unsigned operand, ArrayRef<unsigned> lines, int64_t numLines,
                Value firstLine, Value firstSum, Value tile);
  void storeTile(ValueRange sums, Value firstRow, Value firstColumn);

  RewriterBase &rewriter;
  linalg::GenericOp op;
  Location loc;
  const ContractionTiling &tiling;
  gpu::GPUFuncOp kernel;
  Value thread;
  SmallVector<int64_t> sizes;
  SmallVector<Value> position;
};

} // namespace

Value Emitter::below(Value condition, Value value, int64_t limit) {
  Value inside = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::ult,
                                       value, constant(limit));
  return condition ? arith::AndIOp::create(rewriter, loc, condition, inside)
                         .getResult()
                   : inside;
}

void Emitter::setPosition(ArrayRef<unsigned> loops, Value linear) {
  SmallVector<int64_t> sizesOfLoops;
  for (unsigned loop : loops)
    sizesOfLoops.push_back(sizes[loop]);
  for (auto [loop, index] :
       llvm::zip(loops, delinearize(rewriter, loc, linear, sizesOfLoops)))
    position[loop] = index;
}

SmallVector<Value> Emitter::indices(unsigned operand) {
  SmallVector<Value> result;
  for (AffineExpr expr : op.getIndexingMapsArray()[operand].getResults())
    result.push_back(position[cast<AffineDimExpr>(expr).getPosition()]);
  return result;
}

/// tile[sum, line] for `depth` sums and tiling.tile lines, zero outside.
void Emitter::loadTile(unsigned operand, ArrayRef<unsigned> lines,
                       int64_t numLines, Value firstLine, Value firstSum,
                       Value tile) {
  // Neighbouring threads read neighbouring elements.
  AffineMap map = op.getIndexingMapsArray()[operand];
  bool alongSums = !tiling.sums.empty() &&
                   map.getResults().back().isFunctionOfDim(tiling.sums.back());
  int64_t elements = tiling.tile * depth / tiling.threads();
  Type f32 = rewriter.getF32Type();
  for (int64_t i = 0; i < elements; ++i) {
    Value at = add(thread, constant(i * tiling.threads()));
    Value line = alongSums ? quotient(at, depth) : remainder(at, tiling.tile);
    Value sum = alongSums ? remainder(at, depth) : quotient(at, tiling.tile);
    Value globalLine = add(firstLine, line), globalSum = add(firstSum, sum);
    Value inside;
    if (numLines % tiling.tile)
      inside = below(inside, globalLine, numLines);
    if (tiling.numSums % depth)
      inside = below(inside, globalSum, tiling.numSums);
    auto load = [&]() -> Value {
      setPosition(lines, globalLine);
      setPosition(tiling.sums, globalSum);
      Value value = memref::LoadOp::create(
          rewriter, loc, op->getOperand(operand), indices(operand));
      if (value.getType() != f32)
        value = arith::ExtFOp::create(rewriter, loc, f32, value);
      return value;
    };
    Value value;
    if (!inside) {
      value = load();
    } else {
      auto branch = scf::IfOp::create(rewriter, loc, f32, inside, true);
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToStart(branch.thenBlock());
      scf::YieldOp::create(rewriter, loc, load());
      rewriter.setInsertionPointToStart(branch.elseBlock());
      Value zero =
          arith::ConstantOp::create(rewriter, loc, rewriter.getF32FloatAttr(0));
      scf::YieldOp::create(rewriter, loc, zero);
      value = branch.getResult(0);
    }
    memref::StoreOp::create(rewriter, loc, value, tile, ValueRange{sum, line});
  }
}

void Emitter::storeTile(ValueRange sums, Value firstRow, Value firstColumn) {
  Type type = getElementTypeOrSelf(op->getOperand(2));
  Type f32 = rewriter.getF32Type();
  for (int64_t i = 0; i < micro; ++i)
    for (int64_t j = 0; j < micro; ++j) {
      Value row = add(firstRow, constant(i));
      Value column = add(firstColumn, constant(j));
      Value inside;
      if (tiling.numRows % tiling.tile)
        inside = below(inside, row, tiling.numRows);
      if (tiling.numColumns % tiling.tile)
        inside = below(inside, column, tiling.numColumns);
      OpBuilder::InsertionGuard guard(rewriter);
      if (inside) {
        auto branch = scf::IfOp::create(rewriter, loc, inside, false);
        rewriter.setInsertionPointToStart(branch.thenBlock());
      }
      setPosition(tiling.rows, row);
      setPosition(tiling.columns, column);
      SmallVector<Value> at = indices(2);
      Value value = vector::ExtractOp::create(rewriter, loc, sums[i], j);
      if (addsToInit(op)) {
        Value old =
            memref::LoadOp::create(rewriter, loc, op->getOperand(2), at);
        if (type != f32)
          old = arith::ExtFOp::create(rewriter, loc, f32, old);
        value = arith::AddFOp::create(rewriter, loc, old, value);
      }
      if (type != f32)
        value = arith::TruncFOp::create(rewriter, loc, type, value);
      memref::StoreOp::create(rewriter, loc, value, op->getOperand(2), at);
    }
}

void Emitter::run(Value block) {
  // Tiles of one column of tiles follow each other: they share its operand.
  Value rowTile = remainder(block, tiling.rowTiles());
  Value rest = quotient(block, tiling.rowTiles());
  Value columnTile = remainder(rest, tiling.columnTiles());
  setPosition(tiling.batch, quotient(rest, tiling.columnTiles()));
  Value firstRow = times(rowTile, tiling.tile);
  Value firstColumn = times(columnTile, tiling.tile);
  int64_t across = tiling.tile / micro;
  Value threadRow = times(quotient(thread, across), micro);
  Value threadColumn = times(remainder(thread, across), micro);

  // The padding keeps vectors aligned and spreads columns over the banks.
  Type f32 = rewriter.getF32Type();
  Value left = addSharedMemory(kernel, loc, {depth, tiling.tile + micro}, f32);
  Value right = addSharedMemory(kernel, loc, {depth, tiling.tile + micro}, f32);
  auto vector = VectorType::get({micro}, f32);
  Value zero =
      arith::ConstantOp::create(rewriter, loc, rewriter.getZeroAttr(vector));
  SmallVector<Value> sums(micro, zero);
  auto loop =
      scf::ForOp::create(rewriter, loc, constant(0), constant(tiling.numSums),
                         constant(depth), sums);
  {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToEnd(loop.getBody());
    Value firstSum = loop.getInductionVar();
    loadTile(0, tiling.rows, tiling.numRows, firstRow, firstSum, left);
    loadTile(1, tiling.columns, tiling.numColumns, firstColumn, firstSum,
             right);
    gpu::BarrierOp::create(rewriter, loc);
    auto inner = scf::ForOp::create(rewriter, loc, constant(0), constant(depth),
                                    constant(1), loop.getRegionIterArgs());
    {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToEnd(inner.getBody());
      auto load = [&](Value tile, Value at) -> Value {
        return vector::LoadOp::create(rewriter, loc, vector, tile,
                                      ValueRange{inner.getInductionVar(), at},
                                      /*nontemporal=*/false,
                                      llvm::MaybeAlign(micro * sizeof(float)));
      };
      Value a = load(left, threadRow), b = load(right, threadColumn);
      SmallVector<Value> next;
      for (int64_t i = 0; i < micro; ++i) {
        Value element = vector::ExtractOp::create(rewriter, loc, a, i);
        Value repeated =
            vector::BroadcastOp::create(rewriter, loc, vector, element);
        next.push_back(vector::FMAOp::create(rewriter, loc, repeated, b,
                                             inner.getRegionIterArgs()[i]));
      }
      scf::YieldOp::create(rewriter, loc, next);
    }
    // Nobody overwrites a tile that somebody still reads.
    gpu::BarrierOp::create(rewriter, loc);
    scf::YieldOp::create(rewriter, loc, inner.getResults());
  }
  storeTile(loop.getResults(), add(firstRow, threadRow),
            add(firstColumn, threadColumn));
}

void execution::emitTiledContraction(RewriterBase &rewriter,
                                     linalg::GenericOp op,
                                     const ContractionTiling &tiling,
                                     gpu::GPUFuncOp kernel, Value block,
                                     Value thread) {
  Emitter(rewriter, op, tiling, kernel, thread).run(block);
  rewriter.eraseOp(op);
}
