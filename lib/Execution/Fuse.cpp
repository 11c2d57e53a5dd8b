//===- Fuse.cpp - Fewer passes over memory --------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "RowGroups.h"
#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// A row should stay in the cache, and its loop should be worth a call.
static constexpr RowTiling hostTiling = {4096,
                                         2048,
                                         256 << 10,
                                         INT64_MAX,
                                         /*perPoint=*/false,
                                         0};
/// A step is a block of threads, and what it keeps is in shared memory.
static constexpr RowTiling deviceTiling = {0,
                                           512,
                                           40 << 10,
                                           40 << 10,
                                           /*perPoint=*/true,
                                           128};

/// Ops that cost tens of cycles.
static bool isExpensive(Operation *op) {
  return isa<math::MathDialect>(op->getDialect()) ||
         isa<tensor::ExtractOp, func::CallOp>(op);
}

static bool hasExpensiveOps(linalg::GenericOp op) {
  return llvm::any_of(op.getBody()->without_terminator(),
                      [](Operation &inner) { return isExpensive(&inner); });
}

/// Moves data or does at most one cheap thing with it.
static bool isNearlyFree(linalg::GenericOp op) {
  return op.getNumDpsInputs() <= 1 &&
         op.getBody()->getOperations().size() <= 2 && !hasExpensiveOps(op);
}

/// Elementwise fusion puts the producer's body into the consumer's. That must
/// not make it run more often than it did, except where it costs nothing; and
/// a contraction must stay one.
static bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || isContraction(producer) ||
      isContraction(consumer))
    return false;
  if (isNearlyFree(producer))
    return true;
  if (!operand->get().hasOneUse())
    return false;
  AffineMap map = consumer.getMatchingIndexingMap(operand);
  bool repeats = map.getNumResults() < consumer.getNumLoops();
  // A consumer that reads one row for many others would repeat an expensive
  // producer, unless only its innermost loop does: there the value is
  // loop-invariant, and the optimizer moves it out.
  if (repeats && hasExpensiveOps(producer)) {
    for (unsigned dim = 0; dim + 1 < consumer.getNumLoops(); ++dim)
      if (!map.isFunctionOfDim(dim))
        return false;
  }
  return true;
}

/// A fill that several ops use would tie them together.
static void cloneFills(func::FuncOp entry) {
  SmallVector<linalg::FillOp> fills;
  entry.walk([&](linalg::FillOp fill) { fills.push_back(fill); });
  for (linalg::FillOp fill : fills) {
    OpBuilder builder(fill);
    for (OpOperand &use :
         llvm::make_early_inc_range(fill.getResult(0).getUses())) {
      if (fill.getResult(0).hasOneUse())
        break;
      builder.setInsertionPoint(use.getOwner());
      use.set(builder.clone(*fill)->getResult(0));
    }
  }
}

/// An uninitialised tensor of its own for each op that writes one, made right
/// there: what it becomes is allocated as late as possible.
static void cloneEmpties(func::FuncOp entry) {
  SmallVector<tensor::EmptyOp> empties;
  entry.walk([&](tensor::EmptyOp empty) { empties.push_back(empty); });
  for (tensor::EmptyOp empty : empties) {
    OpBuilder builder(empty);
    for (OpOperand &use : llvm::make_early_inc_range(empty->getUses())) {
      builder.setInsertionPoint(use.getOwner());
      use.set(builder.clone(*empty)->getResult(0));
    }
    empty.erase();
  }
}

/// Fuses elementwise ops where `control` says so. A producer whose consumer was
/// fused away counts that one among its uses until it is cleaned up; so this is
/// repeated until nothing gets fewer.
static LogicalResult fuseElementwise(Compilation &compilation,
                                     bool (*control)(OpOperand *)) {
  func::FuncOp entry = compilation.entry;
  RewritePatternSet set(entry.getContext());
  linalg::populateElementwiseOpsFusionPatterns(set, control);
  linalg::populateEraseUnusedOperandsAndResultsPatterns(set);
  tensor::populateFoldTensorEmptyPatterns(set);
  FrozenRewritePatternSet patterns(std::move(set));
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
  for (size_t before = SIZE_MAX;;) {
    // Contractions are kept off the list: some of these patterns would fold a
    // filled operand into them whatever `control` says.
    SmallVector<Operation *> ops;
    entry.walk([&](Operation *op) {
      if (op != entry && !isContraction(op))
        ops.push_back(op);
    });
    if (ops.size() >= before)
      return success();
    before = ops.size();
    if (failed(applyOpPatternsGreedily(ops, patterns, config)) ||
        failed(cleanUp(compilation.module)))
      return failure();
  }
}

LogicalResult execution::fuse(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  MLIRContext *context = entry.getContext();
  if (!compilation.onDevice()) {
    // Scores have two readers, which would both take what is nearly free.
    auto fuseOnlyUse = [](OpOperand *operand) {
      return operand->get().hasOneUse() && shouldFuse(operand);
    };
    if (failed(fuseElementwise(compilation, fuseOnlyUse)))
      return failure();
    formAttention(compilation);
    if (failed(lowerToKernels(compilation)))
      return failure();
  }
  if (failed(fuseElementwise(compilation, shouldFuse)))
    return failure();
  cloneFills(entry);
  if (failed(
          tileRows(entry, compilation.onDevice() ? deviceTiling : hostTiling)))
    return failure();
  {
    RewritePatternSet patterns(context);
    tensor::populateFoldTensorEmptyPatterns(patterns);
    if (failed(applyPatternsGreedily(entry, std::move(patterns))))
      return failure();
  }
  // Merges the copies of a producer that several members of a group read.
  if (failed(cleanUp(compilation.module)) ||
      failed(cleanUp(compilation.module)))
    return failure();
  cloneEmpties(entry);
  return success();
}
