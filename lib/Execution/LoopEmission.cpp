//===- LoopEmission.cpp - An op on buffers as loops -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoopEmission.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace quantopt;
using utils::IteratorType;

namespace {

class Emitter {
public:
  Emitter(RewriterBase &rewriter, linalg::LinalgOp op)
      : rewriter(rewriter), op(op), loc(op.getLoc()),
        iterators(op.getIteratorTypesArray()) {}

  LogicalResult run();

private:
  bool dependsOn(unsigned dim, OpOperand *operand);
  void chooseOrder();
  SmallVector<Value> indices(OpOperand *operand);
  Value load(OpOperand *operand);
  SmallVector<Value> emitBody(ValueRange carried);
  SmallVector<Value> emitLevel(unsigned level, ValueRange carried);
  void allowReordering(Operation *yield);

  RewriterBase &rewriter;
  linalg::LinalgOp op;
  Location loc;
  SmallVector<IteratorType> iterators;
  SmallVector<unsigned> order; // loops, outermost first
  unsigned firstCarried = 0;   // level from which results are in registers
  SmallVector<Value> position; // induction variable of each loop
  SmallVector<Value> low, high, step;
};

} // namespace

/// True if `dim` is what the last, contiguous index of `operand` moves with.
bool Emitter::dependsOn(unsigned dim, OpOperand *operand) {
  AffineMap map = op.getMatchingIndexingMap(operand);
  return map.getNumResults() > 0 &&
         map.getResults().back().isFunctionOfDim(dim);
}

/// Parallel loops in the order of the result's dimensions, then reductions,
/// unless the inputs are contiguous along the last parallel loop.
void Emitter::chooseOrder() {
  SmallVector<unsigned> parallel, reductions;
  // An op whose results nobody reads has none left, but may hold a check.
  AffineMap out;
  if (op.getNumDpsInits() > 0)
    out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  for (AffineExpr expr : out ? out.getResults() : ArrayRef<AffineExpr>())
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      if (iterators[dim.getPosition()] == IteratorType::parallel &&
          !llvm::is_contained(parallel, dim.getPosition()))
        parallel.push_back(dim.getPosition());
  for (auto [dim, iterator] : llvm::enumerate(iterators)) {
    if (iterator != IteratorType::parallel)
      reductions.push_back(dim);
    else if (!llvm::is_contained(parallel, dim))
      parallel.insert(parallel.begin(), dim);
  }
  order = parallel;
  order.append(reductions);
  firstCarried = parallel.size();
  if (reductions.empty()) {
    firstCarried = order.size();
    return;
  }
  if (parallel.empty())
    return;
  int along = 0, across = 0;
  for (OpOperand *input : op.getDpsInputOperands()) {
    along += dependsOn(reductions.back(), input);
    across += dependsOn(parallel.back(), input);
  }
  if (across > along) {
    unsigned last = parallel.pop_back_val();
    order = parallel;
    order.append(reductions);
    order.push_back(last);
    firstCarried = order.size(); // accumulate in memory
  }
}

SmallVector<Value> Emitter::indices(OpOperand *operand) {
  SmallVector<Value> result;
  AffineMap map = op.getMatchingIndexingMap(operand);
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      result.push_back(position[dim.getPosition()]);
    } else if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
      result.push_back(
          arith::ConstantIndexOp::create(rewriter, loc, constant.getValue()));
    } else {
      AffineMap single = AffineMap::get(map.getNumDims(), 0, expr);
      result.push_back(affine::makeComposedAffineApply(
          rewriter, loc, single, getAsOpFoldResult(position)));
    }
  }
  return result;
}

Value Emitter::load(OpOperand *operand) {
  if (!isa<MemRefType>(operand->get().getType()))
    return operand->get(); // a scalar
  return memref::LoadOp::create(rewriter, loc, operand->get(),
                                indices(operand));
}

/// Sums may be reordered; nothing else may. The order then is the vector
/// width's, which is fixed for a host.
void Emitter::allowReordering(Operation *yield) {
  for (auto [index, value] : llvm::enumerate(yield->getOperands())) {
    Operation *combiner = value.getDefiningOp();
    if (!isa_and_nonnull<arith::AddFOp, arith::MulFOp>(combiner))
      continue;
    combiner->setAttr("fastmath",
                      arith::FastMathFlagsAttr::get(
                          op.getContext(), arith::FastMathFlags::reassoc));
  }
}

/// The op's body at the current position. Returns what it yields.
SmallVector<Value> Emitter::emitBody(ValueRange carried) {
  return execution::cloneBody(
      rewriter, op, position, carried,
      [&](OpOperand &operand) { return load(&operand); });
}

SmallVector<Value> Emitter::emitLevel(unsigned level, ValueRange carried) {
  auto storeAll = [&](ValueRange values) {
    for (auto [i, value] : llvm::enumerate(values)) {
      OpOperand *init = op.getDpsInitOperand(i);
      memref::StoreOp::create(rewriter, loc, value, init->get(), indices(init));
    }
  };
  if (level == firstCarried && level < order.size() && carried.empty()) {
    SmallVector<Value> start;
    for (OpOperand &init : op.getDpsInitsMutable())
      start.push_back(load(&init));
    storeAll(emitLevel(level, start));
    return {};
  }
  if (level == order.size()) {
    SmallVector<Value> results = emitBody(carried);
    if (!carried.empty())
      return results;
    storeAll(results);
    return {};
  }
  unsigned dim = order[level];
  auto loop = scf::ForOp::create(rewriter, loc, low[dim], high[dim], step[dim],
                                 carried);
  OpBuilder::InsertionGuard guard(rewriter);
  if (carried.empty())
    rewriter.setInsertionPoint(loop.getBody()->getTerminator());
  else
    rewriter.setInsertionPointToEnd(loop.getBody());
  position[dim] = loop.getInductionVar();
  SmallVector<Value> results = emitLevel(level + 1, loop.getRegionIterArgs());
  if (!carried.empty())
    scf::YieldOp::create(rewriter, loc, results);
  return SmallVector<Value>(loop.getResults());
}

LogicalResult Emitter::run() {
  for (Type type : op->getOperandTypes())
    if (isa<TensorType>(type))
      return op.emitError("cannot be run: it is still on tensors; this is a "
                          "defect of quant-opt");
  chooseOrder();
  position.resize(iterators.size());
  for (Range range : op.createLoopRanges(rewriter, loc)) {
    low.push_back(getValueOrCreateConstantIndexOp(rewriter, loc, range.offset));
    high.push_back(getValueOrCreateConstantIndexOp(rewriter, loc, range.size));
    step.push_back(
        getValueOrCreateConstantIndexOp(rewriter, loc, range.stride));
  }
  if (firstCarried < order.size())
    allowReordering(op.getBlock()->getTerminator());
  emitLevel(0, {});
  rewriter.eraseOp(op);
  return success();
}

SmallVector<Value> execution::cloneBody(RewriterBase &rewriter,
                                        linalg::LinalgOp op,
                                        ArrayRef<Value> position,
                                        ValueRange inits,
                                        function_ref<Value(OpOperand &)> load) {
  Block *body = op.getBlock();
  IRMapping mapping;
  unsigned init = 0;
  for (OpOperand &operand : op->getOpOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(&operand);
    bool isInit = op.isDpsInit(&operand);
    if (isInit && !inits.empty())
      mapping.map(argument, inits[init]);
    else if (!argument.use_empty())
      mapping.map(argument, load(operand));
    init += isInit;
  }
  for (Operation &inner : body->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner))
      mapping.map(index.getResult(), position[index.getDim()]);
    else
      rewriter.clone(inner, mapping);
  }
  SmallVector<Value> results;
  for (Value value : body->getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(value));
  return results;
}

LogicalResult execution::emitLoops(RewriterBase &rewriter,
                                   linalg::LinalgOp op) {
  return Emitter(rewriter, op).run();
}
