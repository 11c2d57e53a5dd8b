//===- Contraction.cpp - A contraction as a matrix product ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"

#include "OperandOrigin.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Recognition of the body
//===----------------------------------------------------------------------===//

/// `value` without the casts that widen it.
static Value skipCasts(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::TruncFOp, arith::ExtSIOp, arith::ExtUIOp,
             arith::SIToFPOp, arith::UIToFPOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// The operands of `value` if it is computed by `Float` or `Integer`.
template <typename Float, typename Integer>
static std::optional<std::pair<Value, Value>> operandsOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<Float, Integer>(op))
    return std::nullopt;
  return std::make_pair(op->getOperand(0), op->getOperand(1));
}

bool isContraction(linalg::LinalgOp op) {
  if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      op.getNumReductionLoops() == 0 || !op.hasPureTensorSemantics())
    return false;
  Block *body = op.getBlock();
  Value out = body->getArgument(2);
  auto sum = operandsOf<arith::AddFOp, arith::AddIOp>(
      body->getTerminator()->getOperand(0));
  if (!sum || (sum->first != out && sum->second != out))
    return false;
  auto product = operandsOf<arith::MulFOp, arith::MulIOp>(
      skipCasts(sum->first == out ? sum->second : sum->first));
  if (!product)
    return false;
  Value a = skipCasts(product->first), b = skipCasts(product->second);
  Value x = body->getArgument(0), w = body->getArgument(1);
  return (a == x && b == w) || (a == w && b == x);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// The loop behind each result of `map`, unit loops taken as 0; nothing if an
/// index is more than one loop (a stride, a sliding window).
static std::optional<SmallVector<std::optional<unsigned>>>
loopsOf(AffineMap map, ArrayRef<int64_t> extents) {
  MLIRContext *context = map.getContext();
  SmallVector<AffineExpr> dims;
  for (auto [i, extent] : llvm::enumerate(extents))
    dims.push_back(extent == 1 ? getAffineConstantExpr(0, context)
                               : getAffineDimExpr(i, context));
  SmallVector<std::optional<unsigned>> loops;
  for (AffineExpr expr : map.getResults()) {
    expr = simplifyAffineExpr(expr.replaceDims(dims), extents.size(), 0);
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      loops.push_back(dim.getPosition());
    else if (auto zero = dyn_cast<AffineConstantExpr>(expr);
             zero && zero.getValue() == 0)
      loops.push_back(std::nullopt);
    else
      return std::nullopt;
  }
  return loops;
}

static bool contains(ArrayRef<std::optional<unsigned>> loops, unsigned loop) {
  return llvm::is_contained(loops, std::optional<unsigned>(loop));
}

/// How far one step of each loop of the contraction moves in the constant, and
/// in the tensor of indices if the constant is gathered from.
struct LoopStrides {
  SmallVector<int64_t> weight, rows;
};

/// Why `loop` fits no linear; empty if it does.
static std::string whyNotLoop(linalg::LinalgOp op, unsigned loop,
                              int64_t extent, const LoopStrides &strides,
                              const ConstantContraction &result) {
  bool inInput = contains(result.inputLoops, loop);
  bool inOutput = contains(result.outputLoops, loop);
  bool inWeight = strides.weight[loop] != 0, inRows = strides.rows[loop] != 0;
  if (op.getIteratorTypesArray()[loop] == utils::IteratorType::reduction) {
    if (inRows)
      return "a sum runs over rows that an index picks";
    if (!inInput || !inWeight)
      return "a summed dimension stands in one operand only";
    return "";
  }
  if (!inOutput)
    return "a dimension of the loop nest is not in the result";
  if (inWeight && ShapedType::isDynamic(extent))
    return "the weight has a dynamic shape";
  if (inRows && inWeight)
    return "one dimension walks the rows and the weight";
  if (!inInput && !inWeight && ShapedType::isDynamic(extent))
    return "a dynamic dimension of the result is not in the input";
  return "";
}

/// Sorts the loops of `op` into m, n and k, and those of m that choose the
/// weight; says in `why` what does not fit.
static bool classifyLoops(linalg::LinalgOp op, ArrayRef<int64_t> extents,
                          const LoopStrides &strides,
                          ConstantContraction &result, std::string &why) {
  auto iterators = op.getIteratorTypesArray();
  for (unsigned loop = 0; loop < extents.size(); ++loop)
    if (extents[loop] != 1) {
      why = whyNotLoop(op, loop, extents[loop], strides, result);
      if (!why.empty())
        return false;
    }
  // m and n in the order of the output, k in the order of the input: with the
  // usual layouts nothing then needs a transpose.
  ExpertChoice experts;
  for (std::optional<unsigned> loop : result.outputLoops) {
    if (!loop)
      continue;
    bool inWeight = strides.weight[*loop] != 0;
    bool isRow = !inWeight || contains(result.inputLoops, *loop);
    (isRow ? result.mLoops : result.nLoops).push_back(*loop);
    if (isRow && inWeight) {
      experts.shape.push_back(extents[*loop]);
      experts.strides.push_back(strides.weight[*loop]);
    }
  }
  for (std::optional<unsigned> loop : result.inputLoops)
    if (loop && iterators[*loop] == utils::IteratorType::reduction)
      result.kLoops.push_back(*loop);
  if (result.kLoops.empty()) {
    why = "an outer product: nothing is summed (K = 1)";
    return false;
  }
  if (experts.count() == 0 ||
      (result.experts && result.experts->count() == 0)) {
    why = "the weight is empty";
    return false;
  }
  int64_t step = experts.count();
  for (unsigned loop : result.mLoops)
    if (strides.weight[loop] != 0)
      experts.steps.emplace_back(loop, step /= extents[loop]);
  if (experts.steps.empty() && !result.experts)
    return true;
  if (result.nLoops.empty()) {
    why = "each row has a single vector of weights (a depthwise convolution or "
          "an embedding), no [N, K] matrix";
    return false;
  }
  if (!result.experts) {
    result.experts = std::move(experts);
    return true;
  }
  if (!experts.steps.empty()) {
    why = "weights are picked by an index and by a dimension of the input";
    return false;
  }
  for (unsigned loop : result.mLoops)
    if (strides.rows[loop] != 0)
      result.experts->steps.emplace_back(loop, strides.rows[loop]);
  return true;
}

int64_t ExpertChoice::offset(int64_t expert) const {
  int64_t result = 0;
  for (int64_t dim = shape.size() - 1; dim >= 0; --dim) {
    result += expert % shape[dim] * strides[dim];
    expert /= shape[dim];
  }
  return result;
}

std::optional<ConstantContraction> analyzeContraction(linalg::LinalgOp op,
                                                      std::string &why) {
  std::optional<ConstantView> views[2] = {
      traceConstant(op.getDpsInputOperand(0)->get()),
      traceConstant(op.getDpsInputOperand(1)->get())};
  if (views[0] && views[1]) {
    why = "both operands are constant - fold the contraction first";
    return std::nullopt;
  }
  ConstantContraction result;
  if (views[0] || views[1]) {
    result.inputIndex = views[0] ? 1 : 0;
    result.weight = *views[1 - result.inputIndex];
  } else {
    std::optional<ExpertGather> gather;
    for (unsigned operand = 0; operand < 2 && !gather; ++operand)
      if ((gather = traceExpertGather(op.getDpsInputOperand(operand)->get())))
        result.inputIndex = 1 - operand;
    if (!gather) {
      why = describeOperands(op);
      return std::nullopt;
    }
    result.weight = gather->weight;
    result.experts = ExpertChoice{
        {gather->experts}, {gather->expertStride}, {}, std::move(gather)};
  }
  for (Value value : op->getOperands())
    if (Type type = getElementTypeOrSelf(value); !getFloatKind(type)) {
      why = llvm::formatv("element type {0} - linears are f32, f16 or bf16",
                          type);
      return std::nullopt;
    }

  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  auto maps = op.getIndexingMapsArray();
  auto inputLoops = loopsOf(maps[result.inputIndex], extents);
  auto weightLoops = loopsOf(maps[1 - result.inputIndex], extents);
  auto outputLoops = loopsOf(maps[2], extents);
  if (!inputLoops || !weightLoops || !outputLoops) {
    why = "an operand is read with a stride or a sliding window";
    return std::nullopt;
  }
  result.inputLoops = *inputLoops;
  result.outputLoops = *outputLoops;
  LoopStrides strides = {SmallVector<int64_t>(extents.size(), 0),
                         SmallVector<int64_t>(extents.size(), 0)};
  for (auto [dim, loop] : llvm::enumerate(*weightLoops)) {
    if (!loop)
      continue;
    strides.weight[*loop] += result.weight.strides[dim];
    if (result.experts)
      strides.rows[*loop] += result.experts->gather->rows.strides[dim];
  }
  if (!classifyLoops(op, extents, strides, result, why))
    return std::nullopt;

  result.weight.shape.clear();
  result.weight.strides.clear();
  auto append = [&](ArrayRef<unsigned> loops, int64_t &product) {
    for (unsigned loop : loops) {
      result.weight.shape.push_back(extents[loop]);
      result.weight.strides.push_back(strides.weight[loop]);
      product *= extents[loop];
    }
  };
  append(result.nLoops, result.n);
  append(result.kLoops, result.k);
  return result;
}

} // namespace quantopt::lowbit
