//===- LowBitToLinalg.cpp - The meaning of the dialect --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/Lookup.h"
#include "quantopt/Dialect/LowBit/IR/Routing.h"
#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITTOLINALG
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

/// lowbit.weight, dense -> constants of its planes and IR that computes f32
/// [N, K]
static LogicalResult lowerWeight(WeightOp op) {
  WeightType type = op.getResult().getType();
  OpBuilder b(op);
  FailureOr<SmallVector<Value>> planes = emitPlanes(b, op);
  if (failed(planes))
    return failure();
  auto floatType =
      RankedTensorType::get({type.getN(), type.getK()}, b.getF32Type());
  Value weight = type.getScheme().emitDequantize(
      b, op.getLoc(), type.getN(), type.getK(), *planes, Layout::Dense,
      /*rows=*/Value(), floatType);
  // The users take !lowbit.weight until they are lowered in their turn.
  Value cast = UnrealizedConversionCastOp::create(b, op.getLoc(), type, weight)
                   .getResult(0);
  op.getResult().replaceAllUsesWith(cast);
  op.erase();
  return success();
}

static Value widen(OpBuilder &b, Location loc, Value value) {
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(b, loc, b.getF32Type(), value);
}

/// `value` with its elements rounded to `type`.
static Value narrow(OpBuilder &b, Location loc, Value value,
                    RankedTensorType type) {
  if (value.getType() == type)
    return value;
  Value init = tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, value), type.getElementType());
  AffineMap identity = b.getMultiDimIdentityMap(type.getRank());
  return linalg::GenericOp::create(
             b, loc, type, value, init, ArrayRef{identity, identity},
             SmallVector<utils::IteratorType>(type.getRank(),
                                              utils::IteratorType::parallel),
             [](OpBuilder &b, Location loc, ValueRange args) {
               Value rounded =
                   arith::TruncFOp::create(b, loc, args[1].getType(), args[0]);
               linalg::YieldOp::create(b, loc, rounded);
             })
      .getResult(0);
}

/// contraction(input, weight [n, k]) in the element type of `resultType`.
static Value multiply(OpBuilder &b, Location loc, Value input, Value weight,
                      RankedTensorType resultType) {
  int64_t rank = resultType.getRank();
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, input);
  sizes.back() = b.getIndexAttr(resultType.getShape().back());
  Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
  Value empty = tensor::EmptyOp::create(b, loc, sizes, b.getF32Type());
  Value init = linalg::FillOp::create(b, loc, zero, empty).getResult(0);

  // Loops: leading dimensions, n, k.
  MLIRContext *context = b.getContext();
  SmallVector<AffineExpr> leading;
  for (int64_t i = 0; i < rank - 1; ++i)
    leading.push_back(b.getAffineDimExpr(i));
  AffineExpr n = b.getAffineDimExpr(rank - 1), k = b.getAffineDimExpr(rank);
  auto mapOf = [&](ArrayRef<AffineExpr> head, AffineExpr tail) {
    SmallVector<AffineExpr> exprs(head);
    exprs.push_back(tail);
    return AffineMap::get(rank + 1, 0, exprs, context);
  };
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  iterators.push_back(utils::IteratorType::reduction);
  auto contraction = linalg::GenericOp::create(
      b, loc, init.getType(), ValueRange{input, weight}, init,
      ArrayRef{mapOf(leading, k), mapOf({n}, k), mapOf(leading, n)}, iterators,
      [](OpBuilder &b, Location loc, ValueRange args) {
        Value product = arith::MulFOp::create(b, loc, widen(b, loc, args[0]),
                                              widen(b, loc, args[1]));
        linalg::YieldOp::create(
            b, loc,
            ValueRange(arith::AddFOp::create(b, loc, args[2], product)));
      });
  return narrow(b, loc, contraction.getResult(0), resultType);
}

/// The dimension whose positions are the experts, if `routing` says no more.
static std::optional<int64_t> routedDimension(Value routing) {
  auto generic = routing.getDefiningOp<linalg::GenericOp>();
  if (!generic || generic.getNumDpsInputs() != 0 ||
      !generic.getIndexingMapsArray()[0].isIdentity())
    return std::nullopt;
  auto cast = generic.getBody()
                  ->getTerminator()
                  ->getOperand(0)
                  .getDefiningOp<arith::IndexCastOp>();
  auto index = cast ? cast.getIn().getDefiningOp<linalg::IndexOp>() : nullptr;
  return index ? std::optional<int64_t>(index.getDim()) : std::nullopt;
}

/// Position `expert` of dimension `dim` of `value`, as a slice.
static auto sliceOf(OpBuilder &b, Location loc, Value value, int64_t dim,
                    int64_t expert) {
  struct {
    SmallVector<OpFoldResult> offsets, sizes, strides;
  } slice;
  slice.sizes = tensor::getMixedSizes(b, loc, value);
  slice.offsets.assign(slice.sizes.size(), b.getIndexAttr(0));
  slice.strides.assign(slice.sizes.size(), b.getIndexAttr(1));
  slice.offsets[dim] = b.getIndexAttr(expert);
  slice.sizes[dim] = b.getIndexAttr(1);
  return slice;
}

/// lowbit.linear(x, w) -> contraction(x, w) with f32 sums; if it is routed,
///   of the slice of its expert where that is known, else
///   -> select(routing == expert, contraction(x, w), others)
static void lowerLinear(LinearOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  Value input = op.getInput(), weight = op.getWeight();
  if (auto cast = weight.getDefiningOp<UnrealizedConversionCastOp>())
    weight = cast.getInputs()[0];
  auto type = cast<RankedTensorType>(op.getResult().getType());
  std::optional<int64_t> dim;
  if (op.isRouted())
    dim = routedDimension(op.getRouting());
  Value result;
  if (dim) {
    auto in = sliceOf(b, loc, input, *dim, *op.getExpert());
    input = tensor::ExtractSliceOp::create(b, loc, input, in.offsets, in.sizes,
                                           in.strides);
    SmallVector<int64_t> shape(type.getShape());
    shape[*dim] = 1;
    result = multiply(b, loc, input, weight, type.clone(shape));
    auto out = sliceOf(b, loc, op.getOthers(), *dim, *op.getExpert());
    result = tensor::InsertSliceOp::create(b, loc, result, op.getOthers(),
                                           out.offsets, out.sizes, out.strides);
  } else {
    result = multiply(b, loc, input, weight, type);
    if (op.isRouted())
      result = selectRoutedRows(b, op, result);
  }
  op.getResult().replaceAllUsesWith(result);
  op.erase();
}

/// Removes the discardable attributes of this dialect.
static void stripAttributes(ModuleOp module) {
  auto ours = [](NamedAttribute attr) {
    return isa_and_nonnull<LowBitDialect>(attr.getNameDialect());
  };
  module->walk([&](Operation *op) {
    for (NamedAttribute attr : llvm::to_vector(op->getDiscardableAttrs()))
      if (ours(attr))
        op->removeDiscardableAttr(attr.getName());
    auto function = dyn_cast<FunctionOpInterface>(op);
    if (!function)
      return;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      for (NamedAttribute attr : llvm::to_vector(function.getArgAttrs(i)))
        if (ours(attr))
          function.removeArgAttr(i, attr.getName());
  });
}

namespace {
struct LowBitToLinalgPass
    : public quantopt::lowbit::impl::LowBitToLinalgBase<LowBitToLinalgPass> {
  void runOnOperation() override {
    SmallVector<WeightOp> weights;
    SmallVector<LinearOp> linears;
    getOperation().walk([&](WeightOp op) { weights.push_back(op); });
    getOperation().walk([&](LinearOp op) { linears.push_back(op); });
    for (WeightOp op : weights)
      if (failed(op.getPlaneData()) || failed(convertLayout(op, Layout::Dense)))
        return signalPassFailure();
    if (failed(lowerLookups(getOperation())))
      return signalPassFailure();
    for (WeightOp op : weights) {
      if (op->use_empty())
        op.erase();
      else if (failed(lowerWeight(op)))
        return signalPassFailure();
    }
    llvm::for_each(linears, lowerLinear);
    SmallVector<UnrealizedConversionCastOp> casts;
    getOperation().walk([&](UnrealizedConversionCastOp op) {
      if (op.use_empty())
        casts.push_back(op);
    });
    for (UnrealizedConversionCastOp op : casts)
      op.erase();
    stripAttributes(getOperation());
  }
};
} // namespace
