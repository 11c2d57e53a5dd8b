//===- Normalize.cpp - One spelling for everything ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Named ops become generic ones, except fills, which later stages look for.
static LogicalResult generalize(func::FuncOp entry) {
  SmallVector<Operation *> ops;
  entry.walk([&](Operation *op) {
    if (isa<linalg::LinalgDialect>(op->getDialect()) &&
        !isa<linalg::GenericOp, linalg::FillOp, linalg::YieldOp,
             linalg::IndexOp>(op))
      ops.push_back(op);
  });
  IRRewriter rewriter(entry.getContext());
  for (Operation *op : ops) {
    rewriter.setInsertionPoint(op);
    if (auto aggregate = dyn_cast<linalg::AggregatedOpInterface>(op)) {
      FailureOr<SmallVector<Value>> parts =
          aggregate.decomposeOperation(rewriter);
      if (failed(parts))
        return op->emitError("cannot be run: '")
               << op->getName() << "' cannot be decomposed";
      rewriter.replaceOp(op, *parts);
      continue;
    }
    auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
    if (!linalgOp || failed(linalg::generalizeNamedOp(rewriter, linalgOp)))
      return op->emitError("cannot be run: '")
             << op->getName() << "' has no form as linalg.generic";
  }
  // Decomposing may have given named ops again.
  bool again = false;
  entry.walk([&](linalg::LinalgOp op) {
    again |= !isa<linalg::GenericOp, linalg::FillOp>(op.getOperation());
  });
  return again ? generalize(entry) : success();
}

static bool isBlasFloat(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isF32() || element.isF16() || element.isBF16();
}

/// A product of two float tensors that the BLAS is good at.
static bool isBlasContraction(linalg::GenericOp op) {
  if (!linalg::isaContractionOpInterface(op) ||
      !llvm::all_of(op->getOperandTypes(), isBlasFloat))
    return false;
  FailureOr<linalg::ContractionDimensions> dims =
      linalg::inferContractionDims(op);
  return succeeded(dims) && (!dims->m.empty() || !dims->n.empty()) &&
         !dims->k.empty();
}

/// Transposes and broadcasts: an op that only yields its one input.
static linalg::GenericOp getPureMove(Value value) {
  auto op = value.getDefiningOp<linalg::GenericOp>();
  if (!op || op.getNumDpsInputs() != 1 || op->getNumResults() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops())
    return {};
  Operation &yield = op.getBody()->front();
  if (!isa<linalg::YieldOp>(yield) ||
      yield.getOperand(0) != op.getBody()->getArgument(0))
    return {};
  AffineMap in = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  return out.isPermutation() && in.isProjectedPermutation()
             ? op
             : linalg::GenericOp();
}

/// Lets a contraction read through the moves that made its operands. Returns
/// true if something changed.
static bool readThroughMoves(linalg::GenericOp op) {
  bool changed = false;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (OpOperand *operand : op.getDpsInputOperands()) {
    while (linalg::GenericOp move = getPureMove(operand->get())) {
      AffineMap in = move.getMatchingIndexingMap(move.getDpsInputOperand(0));
      AffineMap out = move.getMatchingIndexingMap(move.getDpsInitOperand(0));
      AffineMap &map = maps[operand->getOperandNumber()];
      AffineMap composed = in.compose(inversePermutation(out)).compose(map);
      map = composed;
      operand->set(move.getDpsInputOperand(0)->get());
      changed = true;
    }
  }
  if (changed)
    op.setIndexingMapsAttr(
        Builder(op.getContext()).getAffineMapArrayAttr(maps));
  return changed;
}

/// A contraction of a reshaped broadcast (grouped-query attention repeats the
/// keys for every group of heads) gets the broadcast's dimensions instead, so
/// that it can read through it.
static LogicalResult expandOverBroadcasts(func::FuncOp entry) {
  RewritePatternSet patterns(entry.getContext());
  linalg::populateFoldReshapeOpsByExpansionPatterns(
      patterns, [](OpOperand *operand) {
        auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
        auto reshape = operand->get().getDefiningOp<tensor::CollapseShapeOp>();
        return consumer && reshape && isBlasContraction(consumer) &&
               getPureMove(reshape.getSrc());
      });
  return applyPatternsGreedily(entry, std::move(patterns));
}

/// Says whether the init counts; an init of zeros is not read at all.
static void markContraction(linalg::GenericOp op) {
  OpBuilder builder(op);
  OpOperand *init = op.getDpsInitOperand(0);
  Value start = init->get();
  while (auto reshape = start.getDefiningOp<tensor::ExpandShapeOp>())
    start = reshape.getSrc();
  auto fill = start.getDefiningOp<linalg::FillOp>();
  bool isZero = fill && (matchPattern(fill.getInputs()[0], m_AnyZeroFloat()));
  if (isZero) {
    auto type = cast<RankedTensorType>(init->get().getType());
    Value empty = tensor::EmptyOp::create(
        builder, op.getLoc(),
        tensor::getMixedSizes(builder, op.getLoc(), init->get()),
        type.getElementType());
    init->set(empty);
  }
  op->setAttr(kContractAttr, builder.getStringAttr(isZero ? "store" : "add"));
}

LogicalResult execution::normalize(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  MLIRContext *context = entry.getContext();
  {
    RewritePatternSet patterns(context);
    linalg::populateDecomposePadPatterns(patterns);
    if (failed(applyPatternsGreedily(entry, std::move(patterns))))
      return failure();
  }
  {
    // arith and math ops on whole tensors.
    PassManager passes(context);
    passes.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
    if (failed(passes.run(compilation.module)))
      return failure();
  }
  if (failed(generalize(entry)) || failed(splitConcatenations(entry)))
    return failure();
  {
    RewritePatternSet patterns(context);
    tensor::populateDecomposeTensorConcatPatterns(patterns);
    if (failed(applyPatternsGreedily(entry, std::move(patterns))))
      return failure();
  }
  {
    PassManager passes(context);
    passes.addNestedPass<func::FuncOp>(createLinalgFoldUnitExtentDimsPass());
    if (failed(passes.run(compilation.module)) ||
        failed(cleanUp(compilation.module)))
      return failure();
  }
  {
    // A softmax's maximum comes with an index that nobody reads.
    RewritePatternSet patterns(context);
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    if (failed(applyPatternsGreedily(entry, std::move(patterns))))
      return failure();
  }
  auto readThroughAll = [&] {
    entry.walk([&](linalg::GenericOp op) {
      if (isBlasContraction(op))
        readThroughMoves(op);
    });
  };
  readThroughAll();
  if (failed(expandOverBroadcasts(entry)))
    return failure();
  // The dimensions' roles may have changed, the products have not.
  SmallVector<linalg::GenericOp> contractions;
  entry.walk([&](linalg::GenericOp op) {
    if (isBlasContraction(op))
      contractions.push_back(op);
  });
  for (linalg::GenericOp op : contractions) {
    readThroughMoves(op);
    markContraction(op);
  }
  return cleanUp(compilation.module);
}
