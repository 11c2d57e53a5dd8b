//===- Sharing.cpp - How many threads compute an element ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sharing.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;
using utils::IteratorType;

Operation *execution::findCombiner(linalg::LinalgOp op) {
  if (op.getNumDpsInits() != 1)
    return nullptr;
  SmallVector<Operation *, 4> combiners;
  Value input = matchReduction(op.getRegionOutputArgs(), 0, combiners);
  if (!input || combiners.size() != 1 ||
      !arith::getNeutralElement(combiners[0]))
    return nullptr;
  return combiners[0];
}

static int64_t product(linalg::LinalgOp op, bool reductions) {
  int64_t count = 1;
  for (auto [size, iterator] :
       llvm::zip(op.getStaticLoopRanges(), op.getIteratorTypesArray()))
    if ((iterator == IteratorType::reduction) == reductions)
      count *= size;
  return count;
}

int64_t execution::countOutputs(linalg::LinalgOp op) {
  return product(op, /*reductions=*/false);
}
int64_t execution::countReductionSteps(linalg::LinalgOp op) {
  return product(op, /*reductions=*/true);
}

SmallVector<unsigned> execution::orderParallelLoops(linalg::LinalgOp op) {
  SmallVector<unsigned> order;
  SmallVector<IteratorType> iterators = op.getIteratorTypesArray();
  if (op.getNumDpsInits() > 0)
    for (AffineExpr expr :
         op.getMatchingIndexingMap(op.getDpsInitOperand(0)).getResults())
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        if (iterators[dim.getPosition()] == IteratorType::parallel &&
            !llvm::is_contained(order, dim.getPosition()))
          order.push_back(dim.getPosition());
  for (auto [dim, iterator] : llvm::enumerate(iterators))
    if (iterator == IteratorType::parallel && !llvm::is_contained(order, dim))
      order.insert(order.begin(), dim);
  return order;
}

SmallVector<unsigned> execution::reductionLoops(linalg::LinalgOp op) {
  SmallVector<unsigned> loops;
  for (auto [dim, iterator] : llvm::enumerate(op.getIteratorTypesArray()))
    if (iterator == IteratorType::reduction)
      loops.push_back(dim);
  return loops;
}

/// True if inputs are contiguous along the last reduction loop rather than
/// along the last parallel one.
static bool readsAlongReduction(linalg::LinalgOp op) {
  SmallVector<unsigned> parallel = orderParallelLoops(op),
                        reductions = reductionLoops(op);
  if (parallel.empty())
    return true;
  int along = 0, across = 0;
  for (OpOperand *input : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(input);
    if (map.getNumResults() == 0)
      continue;
    along += map.getResults().back().isFunctionOfDim(reductions.back());
    across += map.getResults().back().isFunctionOfDim(parallel.back());
  }
  return along >= across;
}

Share execution::chooseShare(linalg::LinalgOp op, int64_t blockSize) {
  int64_t outputs = countOutputs(op), steps = countReductionSteps(op);
  if (steps < warpSize || !findCombiner(op))
    return Share::Thread;
  int64_t threads = blockSize ? blockSize : 1024;
  if (outputs >= threads && !readsAlongReduction(op))
    return Share::Thread;
  // A warp's worth of work for each thread of a block, at least.
  bool fewOutputs =
      blockSize ? outputs * warpSize * 2 <= blockSize : outputs < 256;
  return fewOutputs && steps >= 256 ? Share::Block : Share::Warp;
}

int64_t execution::countBlocks(linalg::LinalgOp op, Share share,
                               int64_t blockSize) {
  int64_t outputs = std::max<int64_t>(countOutputs(op), 1);
  if (share == Share::Block)
    return outputs;
  int64_t threads = share == Share::Warp ? outputs * warpSize : outputs;
  return llvm::divideCeil(threads, blockSize);
}
