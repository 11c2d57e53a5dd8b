//===- LinearKernels.cpp - Quantized linears become calls of kernels ------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// In two steps: elementwise ops have to be fused before kernels can take along
// what follows a linear, and look-ups have to know early how weights lie.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "quantopt/Codegen/CPU/Passes.h"
#include "quantopt/Codegen/Common/LinearOperands.h"
#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// With x and y as matrices.
static lowbit::LinearOp flattenLinear(lowbit::LinearOp linear) {
  RankedTensorType type = linear.getResult().getType();
  if (type.getRank() == 2)
    return linear;
  OpBuilder builder(linear);
  Value x = codegen::flatten(builder, linear.getInput(), 2);
  int64_t rows = cast<RankedTensorType>(x.getType()).getDimSize(0);
  auto flat = lowbit::LinearOp::create(
      builder, linear.getLoc(),
      RankedTensorType::get({rows, linear.getN()}, type.getElementType()), x,
      linear.getWeight(), linear.getName());
  linear.getResult().replaceAllUsesWith(
      codegen::unflatten(builder, flat.getResult(), type, linear.getInput()));
  linear.erase();
  return flat;
}

FailureOr<LinearSet> execution::prepareKernels(Compilation &compilation) {
  SmallVector<lowbit::LinearOp> linears;
  compilation.entry.walk([&](lowbit::LinearOp linear) {
    if (linear.isQuantized() &&
        cpu::canLower(linear, compilation.cpu, compilation.products).empty())
      linears.push_back(linear);
  });
  LinearSet prepared;
  for (lowbit::LinearOp linear : linears) {
    if (linear.isRouted()) {
      // Experts are packed together with their call; nothing is fused there.
      prepared.insert(linear);
      continue;
    }
    auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
    if (failed(lowbit::convertLayout(weight, Layout::Cpu)))
      return failure();
    prepared.insert(flattenLinear(linear));
  }
  return prepared;
}

LogicalResult execution::lowerToKernels(Compilation &compilation) {
  SmallVector<lowbit::LinearOp> linears;
  compilation.entry.walk(
      [&](lowbit::LinearOp linear) { linears.push_back(linear); });
  auto problems = cpu::lowerLinears(compilation.module, linears,
                                    compilation.cpu, compilation.products);
  if (failed(problems))
    return failure();
  compilation.linearKernels = std::move(*problems);
  codegen::eraseUnusedWeights(compilation.entry);
  return moveConstantsOut(compilation);
}
