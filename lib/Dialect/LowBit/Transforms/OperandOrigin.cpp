//===- OperandOrigin.cpp - Where an operand comes from --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OperandOrigin.h"

#include "ConstantView.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt::lowbit {

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

std::string describeOperands(linalg::LinalgOp op) {
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
      return llvm::formatv("operand {0} is picked from a constant by an index, "
                           "but not as one [N, K] matrix for each row",
                           operand->getOperandNumber());
    if (!dependsOnArguments(source, known) && !traceConstant(operand->get()))
      return llvm::formatv("operand {0} is computed from constants by '{1}' - "
                           "already quantized, or to be folded first",
                           operand->getOperandNumber(),
                           source.getDefiningOp()->getName());
  }
  return "both operands are computed from the input (attention or the like)";
}

} // namespace quantopt::lowbit
