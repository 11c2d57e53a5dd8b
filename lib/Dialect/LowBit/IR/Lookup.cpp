//===- Lookup.cpp - Look-ups in upstream dialects -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/Lookup.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace quantopt::lowbit {

FailureOr<SmallVector<Value>> emitPlanes(OpBuilder &builder, WeightOp weight) {
  if (failed(weight.getPlaneData()))
    return failure();
  return llvm::map_to_vector(
      weight.getPlaneAttrs(), [&](ElementsAttr plane) -> Value {
        return arith::ConstantOp::create(builder, weight.getLoc(), plane);
      });
}

/// lowbit.lookup(rows, w) -> generic(rows) { decode w[row, k] }
static LogicalResult lowerLookup(LookupOp op) {
  auto weight = op.getWeight().getDefiningOp<WeightOp>();
  if (!weight)
    return op.emitError("reads a quantized weight that is not a lowbit.weight");
  OpBuilder builder(op);
  FailureOr<SmallVector<Value>> planes = emitPlanes(builder, weight);
  if (failed(planes))
    return failure();
  WeightType type = weight.getResult().getType();
  Value result = type.getScheme().emitDequantize(
      builder, op.getLoc(), type.getN(), type.getK(), *planes,
      type.getPlaneLayout(), op.getRows(), op.getResult().getType());
  op.getResult().replaceAllUsesWith(result);
  op.erase();
  return success();
}

LogicalResult lowerLookups(Operation *root) {
  WalkResult walk = root->walk([](LookupOp op) {
    return failed(lowerLookup(op)) ? WalkResult::interrupt()
                                   : WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

} // namespace quantopt::lowbit
