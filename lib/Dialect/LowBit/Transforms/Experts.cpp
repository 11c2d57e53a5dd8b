//===- Experts.cpp - Contractions whose rows choose their weight ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Experts.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Merged dimensions
//===----------------------------------------------------------------------===//

/// The reshape behind an operand of `op` that hides a gather of experts.
static tensor::CollapseShapeOp findMerge(linalg::LinalgOp op) {
  for (OpOperand *operand : op.getDpsInputOperands()) {
    auto merge = operand->get().getDefiningOp<tensor::CollapseShapeOp>();
    if (merge && !traceExpertGather(merge) && traceExpertGather(merge.getSrc()))
      return merge;
  }
  return {};
}

linalg::LinalgOp splitMergedExperts(linalg::LinalgOp op) {
  tensor::CollapseShapeOp merge = findMerge(op);
  if (!merge)
    return op;
  IRRewriter rewriter(op.getContext());
  rewriter.setInsertionPoint(op);
  if (!isa<linalg::GenericOp>(op)) {
    FailureOr<linalg::GenericOp> generic =
        linalg::generalizeNamedOp(rewriter, op);
    if (failed(generic))
      return op;
    op = *generic;
  }
  RewritePatternSet patterns(op.getContext());
  linalg::populateFoldReshapeOpsByExpansionPatterns(
      patterns, [&](OpOperand *operand) {
        return operand->getOwner() == op && operand->get() == merge.getResult();
      });
  Value source = merge.getSrc();
  Operation *mergeOp = merge;
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingOps);
  bool changed = false;
  (void)applyOpPatternsGreedily(op.getOperation(), std::move(patterns), config,
                                &changed);
  if (!changed)
    return op;
  for (Operation *user : source.getUsers())
    if (auto expanded = dyn_cast<linalg::LinalgOp>(user);
        user != mergeOp && expanded && isContraction(expanded))
      return expanded;
  return op;
}

//===----------------------------------------------------------------------===//
// The expert of each row
//===----------------------------------------------------------------------===//

namespace {
/// Builds a tensor with an entry for each row of an input.
class RoutingBuilder {
public:
  RoutingBuilder(OpBuilder &builder, Location loc, Value input)
      : builder(builder), loc(loc),
        sizes(tensor::getMixedSizes(builder, loc, input)) {
    sizes.pop_back();
  }

  /// `entry` gives the value of one row.
  Value build(function_ref<Value(OpBuilder &, Location)> entry) {
    Value empty =
        tensor::EmptyOp::create(builder, loc, sizes, builder.getI64Type());
    return linalg::GenericOp::create(
               builder, loc, empty.getType(), ValueRange(), empty,
               builder.getMultiDimIdentityMap(sizes.size()),
               SmallVector<utils::IteratorType>(sizes.size(),
                                                utils::IteratorType::parallel),
               [&](OpBuilder &b, Location loc, ValueRange) {
                 linalg::YieldOp::create(b, loc, entry(b, loc));
               })
        .getResult(0);
  }

private:
  OpBuilder &builder;
  Location loc;
  SmallVector<OpFoldResult> sizes;
};
} // namespace

/// The sum over the loops of position * step.
static Value emitPosition(OpBuilder &b, Location loc,
                          ArrayRef<std::pair<int64_t, int64_t>> dimSteps,
                          int64_t offset) {
  Value sum;
  auto add = [&](Value term) {
    sum = sum ? arith::AddIOp::create(b, loc, sum, term).getResult() : term;
  };
  if (offset || dimSteps.empty())
    add(arith::ConstantIndexOp::create(b, loc, offset));
  for (auto [dim, step] : dimSteps) {
    Value term = linalg::IndexOp::create(b, loc, dim);
    if (step != 1)
      term = arith::MulIOp::create(
          b, loc, term, arith::ConstantIndexOp::create(b, loc, step));
    add(term);
  }
  return sum;
}

/// `value` with all its dimensions merged into one.
static Value flatten(OpBuilder &b, Location loc, Value value) {
  int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
  if (rank == 1)
    return value;
  if (rank == 0)
    return tensor::ExpandShapeOp::create(
        b, loc, RankedTensorType::get({1}, b.getI64Type()), value,
        ArrayRef<ReassociationIndices>{});
  auto all = llvm::to_vector<2>(llvm::seq<int64_t>(0, rank));
  return tensor::CollapseShapeOp::create(b, loc, value, ArrayRef{all});
}

Value emitRouting(OpBuilder &builder, Location loc, const ExpertChoice &experts,
                  Value input, ArrayRef<std::optional<unsigned>> leadingLoops) {
  // The steps along the dimensions of the routing.
  SmallVector<std::pair<int64_t, int64_t>> dimSteps;
  for (auto [loop, step] : experts.steps)
    for (auto [dim, at] : llvm::enumerate(leadingLoops))
      if (at == loop)
        dimSteps.emplace_back(dim, step);
  RoutingBuilder rows(builder, loc, input);
  if (!experts.gather)
    return rows.build([&](OpBuilder &b, Location loc) -> Value {
      return arith::IndexCastOp::create(b, loc, b.getI64Type(),
                                        emitPosition(b, loc, dimSteps, 0));
    });
  Value indices = emitExperts(builder, *experts.gather);
  int64_t offset = experts.gather->rows.offset;
  // Mostly the indices stand there row by row.
  auto type = cast<RankedTensorType>(indices.getType());
  auto shape = cast<RankedTensorType>(input.getType()).getShape().drop_back();
  auto strides = StridedView::rowMajor(type.getShape()).strides;
  bool isInOrder = type.getShape() == shape && offset == 0;
  for (int64_t dim = 0; isInOrder && dim < type.getRank(); ++dim)
    isInOrder = type.getDimSize(dim) == 1 ||
                llvm::is_contained(dimSteps, std::pair(dim, strides[dim]));
  if (isInOrder)
    return indices;
  Value flat = flatten(builder, loc, indices);
  return rows.build([&](OpBuilder &b, Location loc) -> Value {
    return tensor::ExtractOp::create(b, loc, flat,
                                     emitPosition(b, loc, dimSteps, offset));
  });
}

} // namespace quantopt::lowbit
