//===- Residual.cpp - What the result of a linear is added to -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Residual.h"

#include "quantopt/Calibration/Calibrate.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;

/// Whether `map` reads an operand of `shape` element by element as the loops
/// run; a dimension of extent 1 may stand as 0.
static bool readsInPlace(AffineMap map, ArrayRef<int64_t> shape) {
  if (map.getNumResults() != map.getNumDims())
    return false;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    auto zero = dyn_cast<AffineConstantExpr>(expr);
    if (expr != getAffineDimExpr(i, map.getContext()) &&
        !(shape[i] == 1 && zero && zero.getValue() == 0))
      return false;
  }
  return true;
}

/// The other operand of the addition `op` of two tensors, of which `value` is
/// read element by element; null if `op` is none.
static OpOperand *otherSummand(Operation *op, Value value) {
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!isa<arith::AddFOp, linalg::AddOp>(op)) {
    if (!generic || generic.getNumDpsInputs() != 2 ||
        generic.getNumDpsInits() != 1 ||
        generic.getNumParallelLoops() != generic.getNumLoops())
      return nullptr;
    Block *body = generic.getBody();
    auto add = body->getTerminator()->getOperand(0).getDefiningOp();
    if (body->getOperations().size() != 2 || !isa<arith::AddFOp>(add) ||
        add->getOperand(0) == add->getOperand(1) ||
        !llvm::all_of(add->getOperands(), [&](Value operand) {
          auto argument = dyn_cast<BlockArgument>(operand);
          return argument && argument.getArgNumber() < 2;
        }))
      return nullptr;
  }
  OpOperand &first = op->getOpOperand(0), &second = op->getOpOperand(1);
  if (first.get() == second.get())
    return nullptr;
  OpOperand &own = first.get() == value ? first : second;
  auto inPlace = [&](OpOperand &operand) {
    auto type = cast<RankedTensorType>(operand.get().getType());
    return !generic || readsInPlace(generic.getMatchingIndexingMap(&operand),
                                    type.getShape());
  };
  OpOperand &other = &own == &first ? second : first;
  // A bias is read along its rows; that it is constant is all that counts.
  bool constant = matchPattern(skipReshapes(other.get()), m_Constant());
  return inPlace(own) && (constant || inPlace(other)) ? &other : nullptr;
}

Value quantopt::findResidual(lowbit::LinearOp linear,
                             const DominanceInfo &dominance) {
  Value value = linear.getResult();
  auto type = cast<RankedTensorType>(value.getType());
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    if (isReshape(user)) {
      value = user->getResult(0);
      continue;
    }
    OpOperand *other = otherSummand(user, value);
    if (!other)
      return {};
    Value summand = other->get();
    if (matchPattern(skipReshapes(summand), m_Constant())) {
      value = user->getResult(0);
      continue;
    }
    // The reshape may stand behind the linear, and what it reshapes before it.
    while (!dominance.properlyDominates(summand, linear)) {
      Operation *reshape = summand.getDefiningOp();
      if (!reshape || !isReshape(reshape))
        return {};
      summand = reshape->getOperand(0);
    }
    auto found = cast<RankedTensorType>(summand.getType());
    bool fits = type.hasStaticShape() && found.hasStaticShape() &&
                found.getRank() > 0 &&
                found.getShape().back() == type.getShape().back() &&
                found.getNumElements() == type.getNumElements();
    return fits ? summand : Value();
  }
  return {};
}
