//===- Contraction.cpp - A contraction as a matrix product ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"
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
// Where an operand comes from, for the reason of a refusal
//===----------------------------------------------------------------------===//

/// Whether `value` is computed from function arguments.
static bool dependsOnArguments(Value value, DenseMap<Value, bool> &known) {
  // A post-order walk with its own stack: graphs are thousands of ops deep.
  SmallVector<Value> stack = {value};
  while (!stack.empty()) {
    Value top = stack.back();
    Operation *op = top.getDefiningOp();
    if (known.contains(top)) {
      stack.pop_back();
      continue;
    }
    if (!op) {
      known[top] = true;
      stack.pop_back();
      continue;
    }
    SetVector<Value> inputs(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), inputs);
    bool depends = false, ready = true;
    for (Value input : inputs) {
      auto it = known.find(input);
      if (it == known.end()) {
        stack.push_back(input);
        ready = false;
      } else {
        depends |= it->second;
      }
    }
    if (ready) {
      known[top] = depends;
      stack.pop_back();
    }
  }
  return known[value];
}

/// Whether `value` reads a constant at positions computed at run time.
static bool isGather(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (auto gather = dyn_cast<tensor::GatherOp>(op))
    return traceConstant(gather.getSource()).has_value();
  bool found = false;
  op->walk([&](tensor::ExtractOp extract) {
    found |= traceConstant(extract.getTensor()).has_value();
  });
  return found;
}

/// Why neither or both operands being constant is no linear layer.
static std::string describeOperands(linalg::LinalgOp op) {
  DenseMap<Value, bool> known;
  for (OpOperand *operand : op.getDpsInputOperands())
    if (skipViews(operand->get()).getDefiningOp<arith::ConstantOp>())
      return llvm::formatv("operand {0} is a constant that is read with a "
                           "stride, as no [N, K] matrix - fold the slice first",
                           operand->getOperandNumber());
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value source = skipViews(operand->get());
    if (auto argument = dyn_cast<BlockArgument>(source))
      return llvm::formatv("operand {0} is function argument {1} - if that is "
                           "a weight, name it with lowbit.parameter and attach "
                           "its data (--lowbit-attach-data)",
                           operand->getOperandNumber(),
                           argument.getArgNumber());
    if (isGather(source))
      return llvm::formatv("operand {0} is picked from a constant by an index "
                           "(an expert or an embedding), which the quantizers "
                           "do not handle yet",
                           operand->getOperandNumber());
    if (!dependsOnArguments(source, known) && !traceConstant(operand->get()))
      return llvm::formatv("operand {0} is computed from constants by '{1}' - "
                           "already quantized, or to be folded first",
                           operand->getOperandNumber(),
                           source.getDefiningOp()->getName());
  }
  return "both operands are computed from the input (attention or the like)";
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

/// Sorts the loops of `op` into m, n and k; says in `why` what does not fit.
static bool classifyLoops(linalg::LinalgOp op, ArrayRef<int64_t> extents,
                          ArrayRef<int64_t> weightStrides,
                          ConstantContraction &result, std::string &why) {
  auto iterators = op.getIteratorTypesArray();
  for (unsigned loop = 0; loop < extents.size(); ++loop) {
    if (extents[loop] == 1)
      continue;
    bool inInput = contains(result.inputLoops, loop);
    bool inWeight = weightStrides[loop] != 0;
    bool inOutput = contains(result.outputLoops, loop);
    bool reduction = iterators[loop] == utils::IteratorType::reduction;
    if (reduction && !(inInput && inWeight)) {
      why = "a summed dimension stands in one operand only";
      return false;
    }
    if (!reduction && inInput && inWeight) {
      why =
          llvm::formatv("each of {0} entries has a weight of its own (experts "
                        "or a depthwise convolution), which the quantizers do "
                        "not handle yet",
                        extents[loop]);
      return false;
    }
    if (!reduction && !inOutput) {
      why = "a dimension of the loop nest is not in the result";
      return false;
    }
    if (!reduction && inWeight && ShapedType::isDynamic(extents[loop])) {
      why = "the weight has a dynamic shape";
      return false;
    }
  }
  // m and n in the order of the output, k in the order of the input: with the
  // usual layouts nothing then needs a transpose.
  for (std::optional<unsigned> loop : result.outputLoops)
    if (loop)
      (weightStrides[*loop] ? result.nLoops : result.mLoops).push_back(*loop);
  for (std::optional<unsigned> loop : result.inputLoops)
    if (loop && iterators[*loop] == utils::IteratorType::reduction)
      result.kLoops.push_back(*loop);
  if (result.kLoops.empty()) {
    why = "an outer product: nothing is summed (K = 1)";
    return false;
  }
  return true;
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
  if (!views[0] && !views[1]) {
    why = describeOperands(op);
    return std::nullopt;
  }
  ConstantContraction result;
  result.inputIndex = views[0] ? 1 : 0;
  result.weight = *views[1 - result.inputIndex];
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
  SmallVector<int64_t> weightStrides(extents.size(), 0);
  for (auto [loop, stride] :
       llvm::zip_equal(*weightLoops, result.weight.strides))
    if (loop)
      weightStrides[*loop] += stride;
  if (!classifyLoops(op, extents, weightStrides, result, why))
    return std::nullopt;

  result.weight.shape.clear();
  result.weight.strides.clear();
  auto append = [&](ArrayRef<unsigned> loops, int64_t &product) {
    for (unsigned loop : loops) {
      result.weight.shape.push_back(extents[loop]);
      result.weight.strides.push_back(weightStrides[loop]);
      product *= extents[loop];
    }
  };
  append(result.nLoops, result.n);
  append(result.kLoops, result.k);
  return result;
}

} // namespace quantopt::lowbit
