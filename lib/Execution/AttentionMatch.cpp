//===- AttentionMatch.cpp - Finds products with a softmax between them ----===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Attention is recognised by what flows into what: a contraction, an
// elementwise op of its result (scale, mask, whatever), the softmax of each
// row, and a contraction with that. Reshapes between them only regroup rows:
// all dimensions but the keys' are split until every op's dimensions are groups
// of them.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "RowSpace.h"
#include "Softmax.h"
#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;
using utils::IteratorType;

namespace {

/// True if nobody but `users` reads `value`, reshaped or not.
bool isUsedOnlyBy(Value value, ArrayRef<Operation *> users) {
  return llvm::all_of(value.getUsers(), [&](Operation *user) {
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(user))
      return isUsedOnlyBy(user->getResult(0), users);
    return llvm::is_contained(users, user);
  });
}

/// What has been recognised so far, from the last op to the first.
class Matcher {
public:
  std::optional<Attention> match(linalg::GenericOp product);

private:
  bool matchScore();
  bool takeFirst();
  bool takeSecond();
  bool takeOthers();
  std::optional<AttentionOperand>
  takeOperand(linalg::GenericOp op, OpOperand &operand,
              ArrayRef<int64_t> scoreShape,
              ArrayRef<std::optional<unsigned>> scoreDimOfLoop,
              std::optional<unsigned> innerLoop) const;

  Attention result;
  RowSpace rows;
  linalg::GenericOp first, second;
  Softmax softmax;
  OpOperand *quotientsRead = nullptr; // by the second product
};

SmallVector<int64_t> strides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> result(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    result[i - 1] = result[i] * shape[i];
  return result;
}

ArrayRef<int64_t> shapeOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getShape();
}

/// What is widened to f32, as a cache of 16 bits is, or `value` itself: the
/// kernel reads any float.
Value skipWidening(Value value) {
  auto op = value.getDefiningOp<linalg::GenericOp>();
  if (!op || op.getNumDpsInputs() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops() ||
      !llvm::all_of(op.getIndexingMapsArray(),
                    [](AffineMap map) { return map.isIdentity(); }))
    return value;
  auto yielded = op.getBody()->getTerminator()->getOperand(0);
  auto widen = yielded.getDefiningOp<arith::ExtFOp>();
  return widen && widen.getType().isF32() &&
                 widen.getIn() == op.getBody()->getArgument(0)
             ? op.getDpsInputs()[0]
             : value;
}

/// Whether scores that are masked stay so whatever the product is: it is only
/// scaled, bounded, shifted by other values or not chosen.
bool productIsAbsorbed(linalg::GenericOp score, BlockArgument product) {
  llvm::SmallPtrSet<Value, 8> dependent = {product};
  for (Operation &op : score.getBody()->without_terminator()) {
    auto depends = [&](Value value) { return dependent.contains(value); };
    if (llvm::none_of(op.getOperands(), depends))
      continue;
    bool known =
        isa<arith::ExtFOp, arith::TruncFOp, arith::NegFOp, math::TanhOp>(op) ||
        (isa<arith::AddFOp, arith::SubFOp, arith::MulFOp>(op) &&
         !(depends(op.getOperand(0)) && depends(op.getOperand(1)))) ||
        (isa<arith::DivFOp>(op) && !depends(op.getOperand(1))) ||
        (isa<arith::SelectOp>(op) && !depends(op.getOperand(0)));
    if (!known)
      return false;
    dependent.insert_range(op.getResults());
  }
  return true;
}

} // namespace

/// What is between the first product and the softmax.
bool Matcher::matchScore() {
  linalg::GenericOp op = getGeneric(softmax.scores());
  if (!op)
    return false;
  if (isContraction(op)) {
    first = op;
    return true;
  }
  if (!goesOverRows(op, false))
    return false;
  for (OpOperand *input : op.getDpsInputOperands()) {
    linalg::GenericOp from = getGeneric(input->get());
    if (!from || !isContraction(from) ||
        !op.getMatchingIndexingMap(input).isIdentity() ||
        !isUsedOnlyBy(from->getResult(0), {op}))
      continue;
    first = from;
    result.score = op;
    result.productInput = input->getOperandNumber();
  }
  if (!first)
    return false;
  // The body becomes code on vectors.
  if (!op.getMatchingBlockArgument(op.getDpsInitOperand(0)).use_empty())
    return false;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (!isa<linalg::IndexOp>(inner) &&
        !inner.hasTrait<OpTrait::ConstantLike>() &&
        !OpTrait::hasElementwiseMappableTraits(&inner))
      return false;
    for (Value operand : inner.getOperands())
      if (operand.getParentBlock() != op.getBody() &&
          !matchPattern(operand, m_Constant()))
        return false;
  }
  Value yielded = op.getBody()->getTerminator()->getOperand(0);
  return yielded.getParentBlock() == op.getBody();
}

std::optional<AttentionOperand>
Matcher::takeOperand(linalg::GenericOp op, OpOperand &operand,
                     ArrayRef<int64_t> scoreShape,
                     ArrayRef<std::optional<unsigned>> scoreDimOfLoop,
                     std::optional<unsigned> innerLoop) const {
  AttentionOperand taken;
  taken.tensor = skipWidening(operand.get());
  auto type = dyn_cast<RankedTensorType>(taken.tensor.getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  taken.rowStrides.assign(rows.sizes().size(), 0);
  SmallVector<int64_t> memory = strides(type.getShape());
  for (auto [expr, stride] :
       llvm::zip(op.getMatchingIndexingMap(&operand).getResults(), memory)) {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr);
        constant && constant.getValue() == 0)
      continue;
    auto loop = dyn_cast<AffineDimExpr>(expr);
    if (!loop)
      return std::nullopt;
    if (innerLoop == loop.getPosition()) {
      taken.innerStride += stride;
      continue;
    }
    std::optional<unsigned> dim = scoreDimOfLoop[loop.getPosition()];
    if (!dim)
      return std::nullopt;
    if (*dim + 1 == scoreShape.size()) {
      taken.keyStride += stride;
      continue;
    }
    for (auto [sum, step] :
         llvm::zip(taken.rowStrides, rows.stepsAlong(scoreShape, *dim)))
      sum += step * stride;
  }
  return taken;
}

/// The loop of `op` that `isSo`, if there is exactly one.
static std::optional<unsigned>
findOnlyLoop(linalg::GenericOp op, llvm::function_ref<bool(unsigned)> isSo) {
  std::optional<unsigned> found;
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (isSo(loop)) {
      if (found)
        return std::nullopt;
      found = loop;
    }
  return found;
}

/// Which dimension of scores, as `map` reads or writes them, a loop is.
static SmallVector<std::optional<unsigned>> invert(AffineMap map) {
  SmallVector<std::optional<unsigned>> result(map.getNumDims());
  for (auto [dim, expr] : llvm::enumerate(map.getResults()))
    result[cast<AffineDimExpr>(expr).getPosition()] = dim;
  return result;
}

/// q and k, from the product that computes the scores.
bool Matcher::takeFirst() {
  SmallVector<AffineMap> maps = first.getIndexingMapsArray();
  if (!maps[2].isProjectedPermutation() || maps[2].getNumResults() < 1)
    return false;
  SmallVector<std::optional<unsigned>> scoreDim = invert(maps[2]);
  auto depth =
      findOnlyLoop(first, [&](unsigned loop) { return !scoreDim[loop]; });
  if (!depth)
    return false;
  unsigned key = maps[2].getDimPosition(maps[2].getNumResults() - 1);
  bool inA = maps[0].isFunctionOfDim(key), inB = maps[1].isFunctionOfDim(key);
  if (inA == inB)
    return false;
  ArrayRef<int64_t> shape = shapeOf(first->getResult(0));
  auto q = takeOperand(first, first->getOpOperand(inA), shape, scoreDim, depth);
  auto k = takeOperand(first, first->getOpOperand(inB), shape, scoreDim, depth);
  if (!q || !k || q->innerStride == 0 || k->innerStride == 0)
    return false;
  result.q = *q;
  result.k = *k;
  result.keys = shape.back();
  result.depth = first.getStaticLoopRanges()[*depth];
  result.productType = getElementTypeOrSelf(first->getResult(0).getType());
  return true;
}

/// v and the result, from the product that reads the quotients.
bool Matcher::takeSecond() {
  AffineMap read = second.getMatchingIndexingMap(quotientsRead);
  SmallVector<std::optional<unsigned>> scoreDim = invert(read);
  auto width =
      findOnlyLoop(second, [&](unsigned loop) { return !scoreDim[loop]; });
  unsigned key = read.getDimPosition(read.getNumResults() - 1);
  OpOperand *init = second.getDpsInitOperand(0);
  if (!width ||
      second.getIteratorTypesArray()[key] != IteratorType::reduction ||
      second.getNumReductionLoops() != 1 ||
      !second.getMatchingIndexingMap(init).isProjectedPermutation())
    return false;
  ArrayRef<int64_t> shape = shapeOf(quotientsRead->get());
  OpOperand &other =
      second->getOpOperand(1 - quotientsRead->getOperandNumber());
  auto v = takeOperand(second, other, shape, scoreDim, width);
  auto out = takeOperand(second, *init, shape, scoreDim, width);
  // Lanes are columns.
  if (!v || !out || v->innerStride != 1 || v->keyStride == 0 ||
      out->innerStride != 1)
    return false;
  result.v = *v;
  result.out = *out;
  result.out.tensor = second->getResult(0);
  result.width = second.getStaticLoopRanges()[*width];
  return true;
}

bool Matcher::takeOthers() {
  linalg::GenericOp score = result.score;
  if (!score)
    return true;
  ArrayRef<int64_t> shape = shapeOf(score->getResult(0));
  SmallVector<std::optional<unsigned>> same;
  for (unsigned loop = 0; loop < score.getNumLoops(); ++loop)
    same.push_back(loop);
  for (OpOperand *input : score.getDpsInputOperands()) {
    if (input->getOperandNumber() == result.productInput)
      continue;
    auto other = takeOperand(score, *input, shape, same, std::nullopt);
    if (!other || other->keyStride > 1)
      return false;
    result.others.push_back(*other);
  }
  for (unsigned loop = 0; loop + 1 < score.getNumLoops(); ++loop)
    result.indexStrides.push_back(rows.stepsAlong(shape, loop));
  bool varies = !result.others.empty() || score.hasIndexSemantics();
  result.masks =
      varies && productIsAbsorbed(
                    score, score.getBody()->getArgument(result.productInput));
  return true;
}

std::optional<Attention> Matcher::match(linalg::GenericOp product) {
  second = product;
  if (!isContraction(second) || addsToInit(second) || second.hasDynamicShape())
    return std::nullopt;
  for (OpOperand *input : second.getDpsInputOperands())
    if (auto found = matchSoftmax(input->get()); found && !quotientsRead) {
      softmax = *found;
      quotientsRead = input;
    }
  if (!quotientsRead || !matchScore() || addsToInit(first) ||
      first.hasDynamicShape() ||
      !second.getMatchingIndexingMap(quotientsRead).isProjectedPermutation())
    return std::nullopt;
  auto &[maximum, exponentials, sums, quotients] = softmax;
  Value scores = softmax.scores();
  Type scoreType = getElementTypeOrSelf(scores.getType());
  if (!scoreType.isF32() || !isUsedOnlyBy(scores, {maximum, exponentials}) ||
      !isUsedOnlyBy(maximum->getResult(0), {exponentials}) ||
      !isUsedOnlyBy(exponentials->getResult(0), {sums, quotients}) ||
      !isUsedOnlyBy(sums->getResult(0), {quotients}) ||
      !isUsedOnlyBy(quotients->getResult(0), {second}))
    return std::nullopt;
  SmallVector<Value> all = {first->getResult(0), scores,
                            exponentials->getResult(0), quotients->getResult(0),
                            quotientsRead->get()};
  for (Value tensor : all) {
    ArrayRef<int64_t> shape = shapeOf(tensor);
    if (shape.empty() || shape.back() != shapeOf(all[0]).back() ||
        llvm::is_contained(shape, 0) || !rows.add(shape))
      return std::nullopt;
  }
  result.rows = rows.sizes();
  if (!takeFirst() || !takeSecond() || !takeOthers())
    return std::nullopt;
  return result;
}

std::optional<Attention> execution::matchAttention(linalg::GenericOp product) {
  return Matcher().match(product);
}
