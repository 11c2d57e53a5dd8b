//===- EpilogueMatch.cpp - What follows linears ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matched is a linalg.generic whose elements, in row-major order, are those of
// y [m, n]: reshapes between it and the linears do not matter.
//
//===----------------------------------------------------------------------===//

#include "EpilogueMatch.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

/// The value with the same elements that is read by other ops than a reshape.
static Value throughReshapes(Value value) {
  while (value.hasOneUse()) {
    Operation *user = *value.getUsers().begin();
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(user))
      break;
    value = user->getResult(0);
  }
  return value;
}

Operation *cpu::firstUser(ArrayRef<lowbit::LinearOp> group) {
  Operation *first = nullptr;
  Block *block = group.front()->getBlock();
  for (lowbit::LinearOp linear : group)
    for (Operation *user : linear->getUsers()) {
      Operation *here = block->findAncestorOpInBlock(*user);
      if (!first || here->isBeforeInBlock(first))
        first = here;
    }
  return first;
}

/// Where the loops over columns begin: together they make n.
static std::optional<unsigned> splitLoops(linalg::GenericOp op, int64_t m,
                                          int64_t n) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  unsigned split = sizes.size();
  int64_t columns = 1, rows = 1;
  while (columns < n && split > 0 && !ShapedType::isDynamic(sizes[split - 1]))
    columns *= sizes[--split];
  bool isDynamic = false;
  for (int64_t size : ArrayRef(sizes).take_front(split)) {
    isDynamic |= ShapedType::isDynamic(size);
    rows *= size;
  }
  if (columns != n || (isDynamic ? !ShapedType::isDynamic(m) : rows != m))
    return std::nullopt;
  return split;
}

/// Whether `map` reads loops [begin, end) alone, in their order.
static bool readsLoops(AffineMap map, unsigned begin, unsigned end) {
  if (map.getNumResults() != end - begin)
    return false;
  for (unsigned i = begin; i < end; ++i)
    if (map.getResult(i - begin) != getAffineDimExpr(i, map.getContext()))
      return false;
  return true;
}

/// Whether the body can be applied to vectors.
static bool isElementwise(linalg::GenericOp op) {
  for (Operation &inner : *op.getBody()) {
    if (isa<linalg::YieldOp>(inner))
      continue;
    bool constant = isa<arith::ConstantOp>(inner);
    if (!constant && !OpTrait::hasElementwiseMappableTraits(&inner))
      return false;
    auto fits = [](Type type) {
      return type.isF32() || type.isF16() || type.isBF16() || type.isInteger();
    };
    if (!llvm::all_of(inner.getResultTypes(), fits))
      return false;
    for (Value value : inner.getOperands())
      if (value.getParentBlock() != op.getBody() &&
          !matchPattern(value, m_Constant()))
        return false;
  }
  return true;
}

/// The body as a function of scalars; `order` tells which of the op's inputs
/// each argument is.
static std::shared_ptr<OwningOpRef<func::FuncOp>>
copyBody(linalg::GenericOp op, ArrayRef<SmallVector<unsigned>> order) {
  OpBuilder builder(op.getContext());
  Block *body = op.getBody();
  SmallVector<Type> types;
  for (ArrayRef<unsigned> inputs : order)
    types.push_back(body->getArgument(inputs.front()).getType());
  auto yield = cast<linalg::YieldOp>(body->getTerminator());
  auto function = func::FuncOp::create(
      op.getLoc(), "epilogue",
      builder.getFunctionType(types, yield.getOperand(0).getType()));
  builder.setInsertionPointToStart(function.addEntryBlock());
  IRMapping mapping;
  for (auto [index, inputs] : llvm::enumerate(order))
    for (unsigned input : inputs)
      mapping.map(body->getArgument(input), function.getArgument(index));
  op.getBody()->walk([&](Operation *inner) {
    for (Value value : inner->getOperands())
      if (value.getParentBlock() != body && !mapping.contains(value))
        builder.clone(*value.getDefiningOp(), mapping);
  });
  for (Operation &inner : body->without_terminator())
    builder.clone(inner, mapping);
  func::ReturnOp::create(builder, op.getLoc(),
                         mapping.lookup(yield.getOperand(0)));
  return std::make_shared<OwningOpRef<func::FuncOp>>(function);
}

static RankedTensorType matrixType(lowbit::LinearOp linear) {
  return linear.getResult().getType();
}

/// `op` as what follows members of the group, whose results it reads as
/// `results`.
static std::optional<EpilogueMatch> matchOp(linalg::GenericOp op,
                                            ArrayRef<lowbit::LinearOp> group,
                                            ArrayRef<Value> results,
                                            const DominanceInfo &dominance,
                                            Operation *before) {
  unsigned numLoops = op.getNumLoops();
  auto yType = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (op.getNumResults() != 1 || op.getNumParallelLoops() != numLoops ||
      !yType || !getFloatKind(yType.getElementType()) ||
      !op.getIndexingMapsArray().back().isIdentity() ||
      !op.getBody()->getArguments().back().use_empty() || !isElementwise(op))
    return std::nullopt;
  EpilogueMatch match{{}, op, 0, {}};
  match.epilogue.y = *getFloatKind(yType.getElementType());
  SmallVector<SmallVector<unsigned>> order, others;
  for (auto [index, result] : llvm::enumerate(results)) {
    SmallVector<unsigned> inputs;
    for (OpOperand *operand : op.getDpsInputOperands()) {
      if (operand->get() != result)
        continue;
      if (!op.getMatchingIndexingMap(operand).isIdentity())
        return std::nullopt;
      inputs.push_back(operand->getOperandNumber());
    }
    if (inputs.empty())
      continue;
    match.epilogue.weights.push_back(index);
    order.push_back(inputs);
    // Nothing else may read it, and it is of the same size as the others.
    if (llvm::any_of(result.getUsers(),
                     [&](Operation *user) { return user != op; }) ||
        matrixType(group[index]) !=
            matrixType(group[match.epilogue.weights.front()]))
      return std::nullopt;
  }
  RankedTensorType type = matrixType(group[match.epilogue.weights.front()]);
  auto split = splitLoops(op, type.getDimSize(0), type.getDimSize(1));
  if (!split)
    return std::nullopt;
  match.numRowLoops = *split;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value value = operand->get();
    if (llvm::is_contained(results, value))
      continue;
    auto kind = getFloatKind(getElementTypeOrSelf(value.getType()));
    AffineMap map = op.getMatchingIndexingMap(operand);
    bool hasRows = false, hasColumns = false;
    if (readsLoops(map, 0, numLoops))
      hasRows = hasColumns = true;
    else if (map.getNumResults() == 0)
      hasRows = false;
    else if (readsLoops(map, 0, *split))
      hasRows = true;
    else if (readsLoops(map, *split, numLoops))
      hasColumns = true;
    else
      return std::nullopt;
    if (!kind || !isa<RankedTensorType>(value.getType()) ||
        !dominance.dominates(value, before))
      return std::nullopt;
    match.epilogue.operands.push_back({hasRows, hasColumns, *kind});
    match.operands.push_back(value);
    others.push_back({operand->getOperandNumber()});
  }
  llvm::append_range(order, others);
  match.epilogue.body = copyBody(op, order);
  return match;
}

SmallVector<EpilogueMatch>
cpu::matchEpilogues(ArrayRef<lowbit::LinearOp> group) {
  SmallVector<EpilogueMatch> matches;
  SmallVector<Value> results;
  for (lowbit::LinearOp linear : group) {
    if (linear.getResult().getType().getRank() != 2)
      return matches;
    results.push_back(throughReshapes(linear.getResult()));
  }
  Operation *before = firstUser(group);
  if (!before)
    return matches;
  DominanceInfo dominance;
  llvm::SmallPtrSet<Operation *, 4> seen;
  for (Value result : results)
    for (Operation *user : result.getUsers()) {
      auto op = dyn_cast<linalg::GenericOp>(user);
      if (!op || op->getBlock() != before->getBlock() ||
          !op.hasPureTensorSemantics() || !seen.insert(op).second)
        continue;
      if (auto match = matchOp(op, group, results, dominance, before))
        matches.push_back(std::move(*match));
    }
  return matches;
}
