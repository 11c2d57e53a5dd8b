//===- AwqBody.cpp - How an op carries a factor to its result -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace quantopt::lowbit {

/// The number that `value` is, if it is computed from constants alone.
static std::optional<double> scalarConstant(Value value) {
  APFloat number(0.0);
  if (matchPattern(value, m_ConstantFloat(&number))) {
    bool lossy;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
    return number.convertToDouble();
  }
  APInt integer;
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (isa<arith::SIToFPOp>(op) &&
      matchPattern(op->getOperand(0), m_ConstantInt(&integer)))
    return integer.signedRoundToDouble();
  if (isa<arith::TruncFOp>(op)) {
    // As the op rounds it: what is added is that.
    std::optional<double> wide = scalarConstant(op->getOperand(0));
    if (!wide)
      return std::nullopt;
    APFloat rounded(*wide);
    bool lossy;
    rounded.convert(cast<FloatType>(value.getType()).getFloatSemantics(),
                    APFloat::rmNearestTiesToEven, &lossy);
    rounded.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                    &lossy);
    return rounded.convertToDouble();
  }
  if (isa<arith::ExtFOp>(op))
    return scalarConstant(op->getOperand(0));
  return std::nullopt;
}

/// Zero and the infinities are the same after any positive factor.
static bool isFixedByFactors(double number) {
  return number == 0 || std::isinf(number);
}

namespace {
/// What becomes of a value of the body.
struct Behaviour {
  enum Kind {
    Refused,
    Invariant, ///< stays as it is
    Fixed,     ///< stays as it is, and is the same after any factor
    Scaled,    ///< takes the factor
  };
  Kind kind = Refused;
  /// Set if the value is `argument` + `offset`: what that argument needs is not
  /// decided yet.
  BlockArgument argument = {};
  double offset = 0;
};

/// The behaviour of each value of a body when the operands `scaled` are.
class BodyScaling {
public:
  BodyScaling(linalg::LinalgOp op, ArrayRef<OpOperand *> scaled) : op(op) {
    for (OpOperand *operand : scaled)
      shifts[op.getMatchingBlockArgument(operand)] = std::nullopt;
  }

  /// Whether result + `shift` takes the factor; then shiftOf() says what the
  /// arguments need.
  bool run(double shift) {
    Behaviour result = infer(op.getBlock()->getTerminator()->getOperand(0));
    return result.kind == Behaviour::Scaled && settle(result, shift) &&
           llvm::all_of(shifts, [](auto &entry) { return entry.second; });
  }

  double shiftOf(OpOperand *operand) {
    return *shifts[op.getMatchingBlockArgument(operand)];
  }

private:
  Behaviour infer(Value value);
  Behaviour inferArgument(BlockArgument argument);
  Behaviour inferSum(Operation *op);
  Behaviour inferProduct(Operation *op);
  Behaviour join(ArrayRef<Value> values);
  bool settle(Behaviour &behaviour, double shift = 0);

  linalg::LinalgOp op;
  /// Of each scaled argument, once it is known.
  DenseMap<BlockArgument, std::optional<double>> shifts;
};
} // namespace

/// Decides that the value, `shift` added, takes the factor if it does so at
/// all. False if something else was decided before.
bool BodyScaling::settle(Behaviour &behaviour, double shift) {
  if (behaviour.kind != Behaviour::Scaled)
    return behaviour.kind != Behaviour::Refused;
  if (!behaviour.argument)
    return shift == 0;
  double needed = behaviour.offset + shift;
  std::optional<double> &decided = shifts[behaviour.argument];
  if (decided && *decided != needed)
    return false;
  decided = needed;
  behaviour = {Behaviour::Scaled};
  return true;
}

Behaviour BodyScaling::inferArgument(BlockArgument argument) {
  if (argument.getOwner() != op.getBlock())
    return {Behaviour::Invariant};
  if (shifts.contains(argument))
    return {Behaviour::Scaled, argument};
  OpOperand *operand = op.getMatchingOpOperand(argument);
  if (!op.isDpsInit(operand))
    return {Behaviour::Invariant};
  bool isFixed = false;
  if (auto fill = operand->get().getDefiningOp<linalg::FillOp>())
    if (auto number = scalarConstant(fill.getInputs()[0]))
      isFixed = isFixedByFactors(*number);
  // In a reduction it is what earlier steps gave: the result itself.
  if (op.getNumReductionLoops() > 0)
    return {isFixed ? Behaviour::Scaled : Behaviour::Refused};
  return {isFixed ? Behaviour::Fixed : Behaviour::Invariant};
}

/// Of values that must all take the factor, or all stay.
Behaviour BodyScaling::join(ArrayRef<Value> values) {
  bool anyScaled = false, anyInvariant = false;
  for (Value value : values) {
    Behaviour behaviour = infer(value);
    if (!settle(behaviour))
      return {};
    anyScaled |= behaviour.kind == Behaviour::Scaled;
    anyInvariant |= behaviour.kind == Behaviour::Invariant;
  }
  if (anyScaled && anyInvariant)
    return {};
  if (anyScaled)
    return {Behaviour::Scaled};
  return {anyInvariant ? Behaviour::Invariant : Behaviour::Fixed};
}

Behaviour BodyScaling::inferSum(Operation *op) {
  double sign = isa<arith::SubFOp>(op) ? -1 : 1;
  for (unsigned side : {0u, 1u}) {
    // number - v is left to the general rule.
    std::optional<double> number = scalarConstant(op->getOperand(1 - side));
    if (!number || isFixedByFactors(*number) || (side == 1 && sign < 0))
      continue;
    Behaviour behaviour = infer(op->getOperand(side));
    if (behaviour.kind == Behaviour::Scaled && behaviour.argument) {
      behaviour.offset += sign * *number;
      return behaviour;
    }
  }
  return join({op->getOperand(0), op->getOperand(1)});
}

Behaviour BodyScaling::inferProduct(Operation *op) {
  Behaviour left = infer(op->getOperand(0)), right = infer(op->getOperand(1));
  if (!settle(left) || !settle(right))
    return {};
  bool leftScaled = left.kind == Behaviour::Scaled;
  bool rightScaled = right.kind == Behaviour::Scaled;
  if (rightScaled && (leftScaled || isa<arith::DivFOp>(op)))
    return {};
  return {leftScaled || rightScaled ? Behaviour::Scaled : Behaviour::Invariant};
}

Behaviour BodyScaling::infer(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return inferArgument(argument);
  Operation *def = value.getDefiningOp();
  if (std::optional<double> number = scalarConstant(value))
    return {isFixedByFactors(*number) ? Behaviour::Fixed
                                      : Behaviour::Invariant};
  if (def->getBlock() != op.getBlock())
    return {Behaviour::Invariant};
  if (isa<arith::ExtFOp, arith::TruncFOp>(def))
    return infer(def->getOperand(0));
  if (isa<arith::AddFOp, arith::SubFOp>(def))
    return inferSum(def);
  if (isa<arith::MulFOp, arith::DivFOp>(def))
    return inferProduct(def);
  if (isa<arith::NegFOp>(def))
    return join(def->getOperand(0));
  if (isa<arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp,
          arith::MinNumFOp>(def))
    return join({def->getOperand(0), def->getOperand(1)});
  if (auto select = dyn_cast<arith::SelectOp>(def)) {
    if (infer(select.getCondition()).kind != Behaviour::Invariant)
      return {};
    return join({select.getTrueValue(), select.getFalseValue()});
  }
  if (isa<arith::CmpFOp>(def)) {
    // The order of two values does not change with a factor on both.
    Behaviour sides = join({def->getOperand(0), def->getOperand(1)});
    return {sides.kind == Behaviour::Refused ? Behaviour::Refused
                                             : Behaviour::Invariant};
  }
  // Anything else must not see the factor.
  for (Value operand : def->getOperands()) {
    Behaviour::Kind kind = infer(operand).kind;
    if (kind != Behaviour::Invariant && kind != Behaviour::Fixed)
      return {};
  }
  return {def->getNumRegions() == 0 ? Behaviour::Invariant
                                    : Behaviour::Refused};
}

SmallVector<SmallVector<OperandScaling>> waysToScale(linalg::LinalgOp op,
                                                     double shift) {
  SmallVector<OpOperand *> inputs;
  for (OpOperand *input : op.getDpsInputOperands())
    if (isa<FloatType>(getElementTypeOrSelf(input->get().getType())))
      inputs.push_back(input);
  SmallVector<SmallVector<OperandScaling>> ways;
  // More inputs than this are no layer of any model.
  constexpr unsigned kMostInputs = 6;
  if (inputs.size() > kMostInputs || op->getNumResults() != 1 ||
      !op.hasPureTensorSemantics())
    return ways;
  SmallVector<unsigned> sets;
  for (unsigned size = 1; size <= inputs.size(); ++size)
    for (unsigned set = 1; set < 1u << inputs.size(); ++set)
      if (llvm::popcount(set) == static_cast<int>(size))
        sets.push_back(set);
  for (unsigned set : sets) {
    SmallVector<OpOperand *> chosen;
    for (auto [i, input] : llvm::enumerate(inputs))
      if (set >> i & 1)
        chosen.push_back(input);
    BodyScaling body(op, chosen);
    if (!body.run(shift))
      continue;
    SmallVector<OperandScaling> &way = ways.emplace_back();
    for (OpOperand *input : chosen)
      way.push_back({input, body.shiftOf(input)});
  }
  return ways;
}

} // namespace quantopt::lowbit
