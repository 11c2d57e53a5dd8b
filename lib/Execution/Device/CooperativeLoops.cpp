//===- CooperativeLoops.cpp - An op shared among threads ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CooperativeLoops.h"

#include "../LoopEmission.h"
#include "Stages.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

namespace {

class Emitter {
public:
  Emitter(RewriterBase &rewriter, linalg::LinalgOp op, Share share,
          const Team &team)
      : rewriter(rewriter), op(op), loc(op.getLoc()), share(share), team(team),
        isProduct(isContraction(op)), sizes(op.getStaticLoopRanges()),
        position(sizes.size()) {}

  void run();

private:
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(rewriter, loc, value);
  }
  /// Sets the loops' positions from a number that counts through them.
  void setPosition(ArrayRef<unsigned> loops, Value linear);
  SmallVector<Value> indices(OpOperand *operand);
  Value load(OpOperand *operand);
  void store(unsigned result, Value value);

  /// The op's body at the current position.
  SmallVector<Value> emitBody(ValueRange partials);
  /// The product of a contraction's body, added to `sum`.
  Value emitProduct(Value sum);
  SmallVector<Value> step(ValueRange partials);
  Value combine(Value a, Value b);
  Value neutral();
  /// What the result holds before the op.
  SmallVector<Value> initial();
  /// Stores what the reduction loops came to.
  void finish(ValueRange totals);

  SmallVector<Value> reduceAlone(ArrayRef<unsigned> loops, ValueRange partials);
  Value reduceStrided(Value first, int64_t stride);
  Value sumOverWarp(Value partial);
  Value sumOverBlock(Value partial);

  RewriterBase &rewriter;
  linalg::LinalgOp op;
  Location loc;
  Share share;
  const Team &team;
  bool isProduct;
  SmallVector<int64_t> sizes;
  SmallVector<Value> position;
};

} // namespace

void Emitter::setPosition(ArrayRef<unsigned> loops, Value linear) {
  SmallVector<int64_t> sizesOfLoops;
  for (unsigned loop : loops)
    sizesOfLoops.push_back(sizes[loop]);
  for (auto [loop, index] :
       llvm::zip(loops, delinearize(rewriter, loc, linear, sizesOfLoops)))
    position[loop] = index;
}

SmallVector<Value> Emitter::indices(OpOperand *operand) {
  SmallVector<Value> result;
  AffineMap map = op.getMatchingIndexingMap(operand);
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      result.push_back(position[dim.getPosition()]);
      continue;
    }
    AffineMap single = AffineMap::get(map.getNumDims(), 0, expr);
    result.push_back(affine::AffineApplyOp::create(rewriter, loc, single,
                                                   ValueRange(position)));
  }
  return result;
}

Value Emitter::load(OpOperand *operand) {
  if (!isa<MemRefType>(operand->get().getType()))
    return operand->get(); // a scalar
  return memref::LoadOp::create(rewriter, loc, operand->get(),
                                indices(operand));
}

void Emitter::store(unsigned result, Value value) {
  OpOperand *init = op.getDpsInitOperand(result);
  memref::StoreOp::create(rewriter, loc, value, init->get(), indices(init));
}

SmallVector<Value> Emitter::emitBody(ValueRange partials) {
  return cloneBody(rewriter, op, position, partials,
                   [&](OpOperand &operand) { return load(&operand); });
}

static Value widen(OpBuilder &builder, Location loc, Value value) {
  Type f32 = builder.getF32Type();
  return value.getType() == f32
             ? value
             : arith::ExtFOp::create(builder, loc, f32, value).getResult();
}

Value Emitter::emitProduct(Value sum) {
  Value a = widen(rewriter, loc, load(op.getDpsInputOperand(0)));
  Value b = widen(rewriter, loc, load(op.getDpsInputOperand(1)));
  return math::FmaOp::create(rewriter, loc, a, b, sum);
}

SmallVector<Value> Emitter::step(ValueRange partials) {
  if (isProduct)
    return {emitProduct(partials[0])};
  return emitBody(partials);
}

Value Emitter::combine(Value a, Value b) {
  if (isProduct)
    return arith::AddFOp::create(rewriter, loc, a, b);
  Operation *combiner = findCombiner(op);
  Operation *joined = combiner->clone();
  joined->setOperands({a, b});
  rewriter.insert(joined);
  return joined->getResult(0);
}

Value Emitter::neutral() {
  TypedAttr value = isProduct ? TypedAttr(rewriter.getF32FloatAttr(0))
                              : *arith::getNeutralElement(findCombiner(op));
  return arith::ConstantOp::create(rewriter, loc, value);
}

SmallVector<Value> Emitter::initial() {
  if (isProduct)
    return {neutral()}; // what is there is added at the end
  SmallVector<Value> values;
  for (OpOperand &init : op.getDpsInitsMutable())
    values.push_back(load(&init));
  return values;
}

void Emitter::finish(ValueRange totals) {
  SmallVector<Value> results(totals);
  if (isProduct) {
    OpOperand *init = op.getDpsInitOperand(0);
    if (addsToInit(op))
      results[0] = arith::AddFOp::create(
          rewriter, loc, widen(rewriter, loc, load(init)), results[0]);
    Type type = getElementTypeOrSelf(init->get());
    if (!type.isF32())
      results[0] = arith::TruncFOp::create(rewriter, loc, type, results[0]);
  }
  for (auto [i, value] : llvm::enumerate(results))
    store(i, value);
}

/// All reduction loops, one in the other, in one thread.
SmallVector<Value> Emitter::reduceAlone(ArrayRef<unsigned> loops,
                                        ValueRange partials) {
  if (loops.empty())
    return step(partials);
  auto loop =
      scf::ForOp::create(rewriter, loc, constant(0),
                         constant(sizes[loops.front()]), constant(1), partials);
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToEnd(loop.getBody());
  position[loops.front()] = loop.getInductionVar();
  SmallVector<Value> results =
      reduceAlone(loops.drop_front(), loop.getRegionIterArgs());
  scf::YieldOp::create(rewriter, loc, results);
  return SmallVector<Value>(loop.getResults());
}

/// One thread's part where several share: steps first, first + stride, ...
Value Emitter::reduceStrided(Value first, int64_t stride) {
  auto loop = scf::ForOp::create(rewriter, loc, first,
                                 constant(countReductionSteps(op)),
                                 constant(stride), neutral());
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToEnd(loop.getBody());
  setPosition(reductionLoops(op), loop.getInductionVar());
  scf::YieldOp::create(rewriter, loc, step(loop.getRegionIterArgs()));
  return loop.getResult(0);
}

/// Every lane gets the same total.
Value Emitter::sumOverWarp(Value partial) {
  for (int64_t distance = warpSize / 2; distance > 0; distance /= 2)
    partial = combine(partial, shuffleXor(rewriter, loc, partial, distance));
  return partial;
}

/// Every thread gets the same total.
Value Emitter::sumOverBlock(Value partial) {
  int64_t numWarps = team.blockSize / warpSize;
  Value ofWarp = sumOverWarp(partial);
  if (numWarps == 1)
    return ofWarp;
  Value scratch =
      addSharedMemory(team.kernel, loc, {numWarps}, partial.getType());
  Value lane =
      arith::RemUIOp::create(rewriter, loc, team.thread, constant(warpSize));
  Value warp =
      arith::DivUIOp::create(rewriter, loc, team.thread, constant(warpSize));
  Value isFirst = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                        lane, constant(0));
  auto branch = scf::IfOp::create(rewriter, loc, isFirst, false);
  {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(branch.thenBlock());
    memref::StoreOp::create(rewriter, loc, ofWarp, scratch, warp);
  }
  gpu::BarrierOp::create(rewriter, loc);
  Value total;
  for (int64_t i = 0; i < numWarps; ++i) {
    Value part =
        memref::LoadOp::create(rewriter, loc, scratch, ValueRange(constant(i)));
    total = total ? combine(total, part) : part;
  }
  // The next element reuses the scratch.
  gpu::BarrierOp::create(rewriter, loc);
  return total;
}

void Emitter::run() {
  SmallVector<unsigned> parallel = orderParallelLoops(op),
                        reductions = reductionLoops(op);
  // Which member of the team this is, and how many there are.
  int64_t perBlock = share == Share::Thread ? team.blockSize
                     : share == Share::Warp ? team.blockSize / warpSize
                                            : 1;
  Value member = share == Share::Thread ? team.thread
                 : share == Share::Warp
                     ? arith::DivUIOp::create(rewriter, loc, team.thread,
                                              constant(warpSize))
                           .getResult()
                     : constant(0);
  if (team.block)
    member = arith::AddIOp::create(
        rewriter, loc, member,
        arith::MulIOp::create(rewriter, loc, team.block, constant(perBlock)));
  auto loop =
      scf::ForOp::create(rewriter, loc, member, constant(countOutputs(op)),
                         constant(perBlock * team.numBlocks));
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToStart(loop.getBody());
  if (!parallel.empty())
    setPosition(parallel, loop.getInductionVar());
  if (reductions.empty()) {
    for (auto [i, value] : llvm::enumerate(emitBody({})))
      store(i, value);
    return;
  }
  if (share == Share::Thread) {
    finish(reduceAlone(reductions, initial()));
    return;
  }
  Value lane = team.thread;
  if (share == Share::Warp)
    lane =
        arith::RemUIOp::create(rewriter, loc, team.thread, constant(warpSize));
  int64_t sharers = share == Share::Warp ? warpSize : team.blockSize;
  Value total = reduceStrided(lane, sharers);
  total = share == Share::Warp ? sumOverWarp(total) : sumOverBlock(total);
  Value isFirst = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                        lane, constant(0));
  auto branch = scf::IfOp::create(rewriter, loc, isFirst, false);
  rewriter.setInsertionPointToStart(branch.thenBlock());
  finish(isProduct ? total : combine(initial()[0], total));
}

LogicalResult execution::emitCooperativeLoops(RewriterBase &rewriter,
                                              linalg::LinalgOp op, Share share,
                                              const Team &team) {
  for (Value operand : op->getOperands())
    if (auto type = dyn_cast<ShapedType>(operand.getType()))
      if (!isa<MemRefType>(type) || !type.hasStaticShape())
        return op.emitError("cannot be run on the GPU: it works on ")
               << type << "; only static shapes are supported";
  Emitter(rewriter, op, share, team).run();
  rewriter.eraseOp(op);
  return success();
}
