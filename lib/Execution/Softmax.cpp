//===- Softmax.cpp - Finds the softmax of rows ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

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

Value execution::skipReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

linalg::GenericOp execution::getGeneric(Value value) {
  return skipReshapes(value).getDefiningOp<linalg::GenericOp>();
}

bool execution::goesOverRows(linalg::GenericOp op, bool reduces) {
  if (!op || isContraction(op) || op->getNumResults() != 1 ||
      op.hasDynamicShape() || op.getNumLoops() < 1)
    return false;
  SmallVector<IteratorType> iterators = op.getIteratorTypesArray();
  for (IteratorType iterator : ArrayRef(iterators).drop_back())
    if (iterator != IteratorType::parallel)
      return false;
  if ((iterators.back() != IteratorType::parallel) != reduces)
    return false;
  AffineMap all =
      AffineMap::getMultiDimIdentityMap(op.getNumLoops(), op.getContext());
  if (reduces)
    all = all.dropResult(op.getNumLoops() - 1);
  return op.getMatchingIndexingMap(op.getDpsInitOperand(0)) == all;
}

/// The only op of a body but the terminator, which yields its result.
template <typename... Ops> static Operation *getOnlyOp(linalg::GenericOp op) {
  Block *body = op.getBody();
  if (body->getOperations().size() != 2)
    return nullptr;
  Operation *only = &body->front();
  return isa<Ops...>(only) &&
                 body->getTerminator()->getOperands() == only->getResults()
             ? only
             : nullptr;
}

/// The input with one element for each score, or the one for each row.
static OpOperand *findInput(linalg::GenericOp op, bool perRow) {
  AffineMap all =
      AffineMap::getMultiDimIdentityMap(op.getNumLoops(), op.getContext());
  if (perRow)
    all = all.dropResult(op.getNumLoops() - 1);
  for (OpOperand *input : op.getDpsInputOperands())
    if (op.getMatchingIndexingMap(input) == all)
      return input;
  return nullptr;
}

static bool isFilledWith(Value tensor,
                         llvm::function_ref<bool(APFloat)> accepts) {
  auto fill = skipReshapes(tensor).getDefiningOp<linalg::FillOp>();
  FloatAttr value;
  return fill && matchPattern(fill.getInputs()[0], m_Constant(&value)) &&
         accepts(value.getValue());
}

std::optional<Softmax> execution::matchSoftmax(Value value) {
  Softmax found;
  auto &[maximum, exponentials, sums, quotients] = found;
  quotients = getGeneric(value);
  if (!goesOverRows(quotients, false) || quotients.getNumDpsInputs() != 2)
    return std::nullopt;
  OpOperand *e = findInput(quotients, false), *l = findInput(quotients, true);
  Block *body = quotients.getBody();
  auto divide = dyn_cast<arith::DivFOp>(body->front());
  if (!e || !l || !divide || !divide.getType().isF32() ||
      divide.getLhs() != quotients.getMatchingBlockArgument(e) ||
      divide.getRhs() != quotients.getMatchingBlockArgument(l))
    return std::nullopt;
  // A rounding that is of no use here may follow.
  Value yielded = body->getTerminator()->getOperand(0);
  if (auto round = yielded.getDefiningOp<arith::TruncFOp>())
    yielded = round.getIn();
  if (yielded != divide.getResult())
    return std::nullopt;

  exponentials = getGeneric(e->get());
  sums = getGeneric(l->get());
  if (!goesOverRows(exponentials, false) || !goesOverRows(sums, true) ||
      exponentials.getNumDpsInputs() != 2 || sums.getNumDpsInputs() != 1 ||
      skipReshapes(sums.getDpsInputs()[0]) != exponentials->getResult(0) ||
      !findInput(sums, false) || !getOnlyOp<arith::AddFOp>(sums) ||
      !isFilledWith(sums.getDpsInits()[0],
                    [](APFloat value) { return value.isZero(); }))
    return std::nullopt;

  OpOperand *t = findInput(exponentials, false),
            *m = findInput(exponentials, true);
  if (!t || !m)
    return std::nullopt;
  auto power = exponentials.getBody()
                   ->getTerminator()
                   ->getOperand(0)
                   .getDefiningOp<math::ExpOp>();
  auto difference =
      power ? power.getOperand().getDefiningOp<arith::SubFOp>() : nullptr;
  if (!difference || !power.getType().isF32() ||
      difference.getLhs() != exponentials.getMatchingBlockArgument(t) ||
      difference.getRhs() != exponentials.getMatchingBlockArgument(m))
    return std::nullopt;

  maximum = getGeneric(m->get());
  if (!goesOverRows(maximum, true) || maximum.getNumDpsInputs() != 1 ||
      !findInput(maximum, false) ||
      skipReshapes(maximum.getDpsInputs()[0]) != skipReshapes(t->get()) ||
      !getOnlyOp<arith::MaximumFOp, arith::MaxNumFOp>(maximum) ||
      !isFilledWith(maximum.getDpsInits()[0], [](APFloat value) {
        return value.isNaN() || (value.isNegative() &&
                                 (value.isInfinity() || value.isLargest()));
      }))
    return std::nullopt;
  return found;
}
