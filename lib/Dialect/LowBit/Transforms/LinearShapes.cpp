//===- LinearShapes.cpp - Contractions in a linear's shape ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearShapes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"

using namespace mlir;

namespace quantopt::lowbit {

/// `value` permuted so that dimension i of the result is `permutation[i]`.
static Value transpose(OpBuilder &b, Location loc, Value value,
                       ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return value;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, value);
  SmallVector<OpFoldResult> permuted;
  for (int64_t dim : permutation)
    permuted.push_back(sizes[dim]);
  Value init =
      tensor::EmptyOp::create(b, loc, permuted, getElementTypeOrSelf(value));
  return linalg::TransposeOp::create(b, loc, value, init, permutation)
      ->getResult(0);
}

/// `value` in `type`, elements in the same row-major order; null if that takes
/// a reshape of dynamic dimensions that cannot be written as one.
static Value reshape(OpBuilder &b, Location loc, Value value,
                     RankedTensorType type) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from == type)
    return value;
  if (auto groups = getReassociationIndicesForReshape(from, type);
      groups && from.getRank() != type.getRank()) {
    if (from.getRank() > type.getRank())
      return tensor::CollapseShapeOp::create(b, loc, type, value, *groups);
    if (type.hasStaticShape())
      return tensor::ExpandShapeOp::create(b, loc, type, value, *groups);
  }
  if (!from.hasStaticShape() || !type.hasStaticShape())
    return {};
  auto flat =
      RankedTensorType::get({from.getNumElements()}, from.getElementType());
  auto all = [](int64_t rank) {
    SmallVector<ReassociationIndices> groups(1);
    llvm::append_range(groups[0], llvm::seq<int64_t>(0, rank));
    return groups;
  };
  if (from.getRank() != 1)
    value = tensor::CollapseShapeOp::create(b, loc, flat, value,
                                            all(from.getRank()));
  if (type.getRank() == 1)
    return value;
  return tensor::ExpandShapeOp::create(b, loc, type, value,
                                       all(type.getRank()));
}

/// `input` repeated along the loops of the output that it lacks, as dimensions
/// after its own; they are added to `loops`, which are those of its dimensions.
static Value repeat(OpBuilder &b, Location loc, Value input,
                    ArrayRef<unsigned> wanted, ArrayRef<int64_t> extents,
                    SmallVectorImpl<std::optional<unsigned>> &loops) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, input);
  SmallVector<int64_t> added;
  for (unsigned loop : wanted)
    if (!llvm::is_contained(loops, std::optional<unsigned>(loop))) {
      added.push_back(sizes.size());
      sizes.push_back(b.getIndexAttr(extents[loop]));
      loops.push_back(loop);
    }
  if (added.empty())
    return input;
  Value init =
      tensor::EmptyOp::create(b, loc, sizes, getElementTypeOrSelf(input));
  return linalg::BroadcastOp::create(b, loc, input, init, added)->getResult(0);
}

/// `input` without dimensions of extent 1 at its end, which importers add to
/// vectors; `loops` shrinks with it.
static Value
dropTrailingUnits(OpBuilder &b, Location loc, Value input,
                  SmallVectorImpl<std::optional<unsigned>> &loops) {
  SmallVector<ReassociationIndices> groups;
  for (auto [dim, loop] : llvm::enumerate(loops))
    groups.push_back({static_cast<int64_t>(dim)});
  while (groups.size() > 1 && !loops.back()) {
    loops.pop_back();
    ReassociationIndices last = groups.pop_back_val();
    groups.back().append(last);
  }
  if (static_cast<int64_t>(groups.size()) ==
      cast<RankedTensorType>(input.getType()).getRank())
    return input;
  return b.createOrFold<tensor::CollapseShapeOp>(loc, input, groups);
}

Value normalizeInput(OpBuilder &b, linalg::LinalgOp op,
                     const ConstantContraction &contraction,
                     SmallVectorImpl<std::optional<unsigned>> &leadingLoops) {
  Location loc = op.getLoc();
  SmallVector<std::optional<unsigned>> loops(contraction.inputLoops);
  Value input = op.getDpsInputOperand(contraction.inputIndex)->get();
  input = dropTrailingUnits(b, loc, input, loops);
  input = repeat(b, loc, input, contraction.mLoops, op.getStaticLoopRanges(),
                 loops);
  SmallVector<int64_t> order;
  for (auto [dim, loop] : llvm::enumerate(loops))
    if (!loop || !llvm::is_contained(contraction.kLoops, *loop))
      order.push_back(dim);
  // The remaining dimensions in the order of the output's m loops; those of
  // extent 1 keep their place in front of their successor.
  auto rank = [&](int64_t dim) {
    int64_t end = loops.size();
    int64_t next = dim;
    while (next < end && !loops[next])
      ++next;
    int64_t place = -1;
    if (next < end)
      place = llvm::find(contraction.mLoops, *loops[next]) -
              contraction.mLoops.begin();
    return std::make_pair(place, dim);
  };
  llvm::sort(order, [&](int64_t a, int64_t b) { return rank(a) < rank(b); });
  unsigned leading = order.size();
  for (int64_t dim : order)
    leadingLoops.push_back(loops[dim]);
  for (unsigned loop : contraction.kLoops)
    order.push_back(llvm::find(loops, std::optional<unsigned>(loop)) -
                    loops.begin());
  Value moved = transpose(b, loc, input, order);
  auto type = cast<RankedTensorType>(moved.getType());
  SmallVector<int64_t> shape(type.getShape().take_front(leading));
  shape.push_back(contraction.k);
  return reshape(b, loc, moved,
                 RankedTensorType::get(shape, type.getElementType()));
}

Value denormalizeResult(OpBuilder &b, Location loc, Value result,
                        RankedTensorType type,
                        const ConstantContraction &contraction) {
  // Where each loop of (m..., n...) goes in the output, units left out.
  SmallVector<unsigned> loops(contraction.mLoops);
  llvm::append_range(loops, contraction.nLoops);
  SmallVector<int64_t> permutation, shape;
  for (std::optional<unsigned> loop : contraction.outputLoops)
    if (loop)
      permutation.push_back(llvm::find(loops, *loop) - loops.begin());
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return reshape(b, loc, result, type);
  for (unsigned loop : loops)
    for (auto [dim, at] : llvm::enumerate(contraction.outputLoops))
      if (at == loop)
        shape.push_back(type.getDimSize(dim));
  Value split = reshape(b, loc, result,
                        RankedTensorType::get(shape, type.getElementType()));
  if (!split)
    return {};
  return reshape(b, loc, transpose(b, loc, split, permutation), type);
}

} // namespace quantopt::lowbit
