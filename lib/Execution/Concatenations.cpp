//===- Concatenations.cpp - Pieces are computed where they will lie -------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A rotary embedding turns half of a head's depth into the other by a
// concatenation, which would cost three passes over memory before the products
// are made. Elementwise ops move in front of a concatenation instead, one for
// each piece, and slices move in front of what moves data. What remains are
// elementwise ops that read slices, and one concatenation at the end, whose
// pieces are written where they belong.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace quantopt;

/// There is a copy of an op for each piece.
static constexpr unsigned maxPieces = 4;

namespace {
/// A part of something, in each of its dimensions.
struct Box {
  SmallVector<int64_t> offsets, sizes;
};
} // namespace

/// Whether each element is computed from elements whose places are its own
/// coordinates or fixed.
static bool isElementwise(linalg::GenericOp op) {
  auto isPlain = [](AffineExpr place) {
    return isa<AffineDimExpr, AffineConstantExpr>(place);
  };
  return op.hasPureTensorSemantics() && op->getNumResults() == 1 &&
         op.getNumParallelLoops() == op.getNumLoops() &&
         !op.hasIndexSemantics() && !op.hasDynamicShape() &&
         op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isPermutation() &&
         llvm::all_of(op.getIndexingMapsArray(), [&](AffineMap map) {
           return llvm::all_of(map.getResults(), isPlain);
         });
}

static bool movesDataOnly(linalg::GenericOp op) {
  return op.getBody()->getOperations().size() == 1;
}

static Value createSlice(OpBuilder &builder, Location loc, Value value,
                         const Box &box) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == ArrayRef(box.sizes))
    return value;
  return tensor::ExtractSliceOp::create(
      builder, loc, value,
      getAsIndexOpFoldResult(type.getContext(), box.offsets),
      getAsIndexOpFoldResult(type.getContext(), box.sizes),
      SmallVector<OpFoldResult>(type.getRank(), builder.getIndexAttr(1)));
}

/// `op` in a part of its loops.
static Value createPart(OpBuilder &builder, linalg::GenericOp op,
                        const Box &loops) {
  SmallVector<Value> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = cast<RankedTensorType>(operand.get().getType());
    Box box;
    for (auto [place, size] :
         llvm::zip_equal(op.getMatchingIndexingMap(&operand).getResults(),
                         type.getShape())) {
      auto loop = dyn_cast<AffineDimExpr>(place);
      box.offsets.push_back(loop ? loops.offsets[loop.getPosition()] : 0);
      box.sizes.push_back(loop ? loops.sizes[loop.getPosition()] : size);
    }
    bool isOverwritten =
        op.isDpsInit(&operand) && !op.payloadUsesValueFromOperand(&operand);
    operands.push_back(
        isOverwritten ? tensor::EmptyOp::create(builder, op.getLoc(), box.sizes,
                                                type.getElementType())
                      : createSlice(builder, op.getLoc(), operand.get(), box));
  }
  Operation *part =
      mlir::clone(builder, op, operands.back().getType(), operands);
  return part->getResult(0);
}

/// The loop that runs along the concatenation `concat`, which `operand` is.
static std::optional<unsigned>
findLoop(linalg::GenericOp op, OpOperand *operand, tensor::ConcatOp concat) {
  auto loop = dyn_cast<AffineDimExpr>(
      op.getMatchingIndexingMap(operand).getResult(concat.getDim()));
  return loop ? std::optional(loop.getPosition()) : std::nullopt;
}

namespace {
/// An elementwise op on a concatenation -> a concatenation of ops on its
/// pieces.
struct MoveBeforeConcatenation : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::GenericOp op,
                                PatternRewriter &rewriter) const override {
    if (!isElementwise(op))
      return failure();
    for (OpOperand *operand : op.getDpsInputOperands()) {
      auto concat = operand->get().getDefiningOp<tensor::ConcatOp>();
      if (!concat || concat.getInputs().size() > maxPieces)
        continue;
      std::optional<unsigned> loop = findLoop(op, operand, concat);
      if (!loop)
        continue;
      Box loops = {SmallVector<int64_t>(op.getNumLoops(), 0),
                   op.getStaticLoopRanges()};
      SmallVector<Value> pieces;
      for (Value input : concat.getInputs()) {
        auto type = cast<RankedTensorType>(input.getType());
        loops.sizes[*loop] = type.getDimSize(concat.getDim());
        pieces.push_back(createPart(rewriter, op, loops));
        loops.offsets[*loop] += loops.sizes[*loop];
      }
      AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
      int64_t dim = *out.getResultPosition(rewriter.getAffineDimExpr(*loop));
      rewriter.replaceOpWithNewOp<tensor::ConcatOp>(op, op.getResultTypes()[0],
                                                    dim, pieces);
      return success();
    }
    return failure();
  }
};

/// A slice of a concatenation, of what moves data, or of an elementwise op that
/// only slices are taken of -> the same of slices.
struct MoveSliceUp : OpRewritePattern<tensor::ExtractSliceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::ExtractSliceOp slice,
                                PatternRewriter &rewriter) const override {
    Operation *source = slice.getSource().getDefiningOp();
    if (!source || !slice.hasUnitStride() ||
        slice.getType().getRank() != slice.getSourceType().getRank() ||
        llvm::any_of(slice.getStaticOffsets(), ShapedType::isDynamic) ||
        llvm::any_of(slice.getStaticSizes(), ShapedType::isDynamic))
      return failure();
    Box box = {SmallVector<int64_t>(slice.getStaticOffsets()),
               SmallVector<int64_t>(slice.getStaticSizes())};
    Value result;
    if (auto concat = dyn_cast<tensor::ConcatOp>(source))
      result = ofConcatenation(rewriter, concat, box);
    else if (auto op = dyn_cast<linalg::GenericOp>(source))
      result = ofElementwise(rewriter, op, box);
    if (!result)
      return failure();
    rewriter.replaceOp(slice, result);
    return success();
  }

private:
  /// Null if the slice is not of one piece alone.
  static Value ofConcatenation(OpBuilder &builder, tensor::ConcatOp concat,
                               Box box) {
    int64_t &offset = box.offsets[concat.getDim()];
    for (Value piece : concat.getInputs()) {
      auto type = cast<RankedTensorType>(piece.getType());
      int64_t size = type.getDimSize(concat.getDim());
      if (ShapedType::isDynamic(size) || offset < 0)
        return {};
      if (offset + box.sizes[concat.getDim()] <= size)
        return createSlice(builder, concat.getLoc(), piece, box);
      offset -= size;
    }
    return {};
  }

  static Value ofElementwise(OpBuilder &builder, linalg::GenericOp op,
                             const Box &box) {
    auto isSlice = [](Operation *user) {
      return isa<tensor::ExtractSliceOp>(user);
    };
    if (!isElementwise(op) ||
        (!movesDataOnly(op) && !llvm::all_of(op->getUsers(), isSlice)))
      return {};
    AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
    AffineMap resultOfLoop = inversePermutation(out);
    return createPart(builder, op,
                      {applyPermutationMap(resultOfLoop, ArrayRef(box.offsets)),
                       applyPermutationMap(resultOfLoop, ArrayRef(box.sizes))});
  }
};
} // namespace

LogicalResult execution::splitConcatenations(func::FuncOp entry) {
  RewritePatternSet patterns(entry.getContext());
  patterns.add<MoveBeforeConcatenation, MoveSliceUp>(entry.getContext());
  return applyPatternsGreedily(entry, std::move(patterns));
}
