//===- Linears.cpp - Linears of the dialect -------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "quantopt/Codegen/GPU/Passes.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/Lookup.h"
#include "quantopt/Dialect/LowBit/IR/Routing.h"
#include "quantopt/Execution/HostCalls.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// The floats lie where they are in the file; a splat or a badly aligned blob
/// is copied.
LogicalResult execution::addFloatWeight(Compilation &compilation, int64_t id,
                                        lowbit::LinearOp linear) {
  ElementsAttr attr;
  if (!matchPattern(linear.getWeight(), m_Constant(&attr)))
    return linear.emitError("weight of '")
           << linear.getName() << "' is not a constant";
  auto data = lowbit::getRawBytes(attr, [&] {
    return linear.emitError("weight of '") << linear.getName() << "': ";
  });
  if (failed(data))
    return failure();
  int64_t n = linear.getN(), k = linear.getK();
  FloatKind kind = *getFloatKind(attr.getShapedType().getElementType());
  int64_t bytes = n * k * byteWidth(kind);
  const char *from = data->data();
  bool splat = int64_t(data->size()) < bytes;
  if (splat || reinterpret_cast<uintptr_t>(from) % byteWidth(kind)) {
    std::shared_ptr<char[]> copy(new char[bytes]);
    for (int64_t at = 0; at < bytes; at += data->size())
      std::copy(data->begin(), data->end(), copy.get() + at);
    from = copy.get();
    compilation.owned.push_back(copy);
  }
  compilation.weights.add(id, {n, k, MatrixRef{from, n, k, kind}});
  return success();
}

static LogicalResult addQuantizedWeight(Compilation &compilation, int64_t id,
                                        lowbit::WeightOp weight) {
  auto planes = weight.getPlaneData();
  if (failed(planes))
    return failure();
  lowbit::WeightType type = weight.getResult().getType();
  int64_t n = type.getN(), k = type.getK();
  auto scheme = cast<lowbit::SchemeInterface>(type.getScheme());
  WeightRows rows = [=, data = *planes](int64_t begin, int64_t end,
                                        float *out) {
    scheme.dequantizeRows(n, k, data, type.getPlaneLayout(), begin, end, out);
  };
  compilation.weights.add(id, {n, k, std::move(rows)});
  return success();
}

/// y = x * W^T with a weight of floats.
static Value buildContraction(OpBuilder &builder, lowbit::LinearOp linear,
                              Value weight) {
  Location loc = linear.getLoc();
  auto type = linear.getResult().getType();
  int64_t leading = type.getRank() - 1;
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, loc, linear.getInput());
  sizes.back() = builder.getIndexAttr(linear.getN());
  Value empty =
      tensor::EmptyOp::create(builder, loc, sizes, type.getElementType());
  Value zero = arith::ConstantOp::create(
      builder, loc, builder.getZeroAttr(type.getElementType()));
  Value init = linalg::FillOp::create(builder, loc, zero, empty).getResult(0);
  SmallVector<AffineExpr> dims;
  for (int64_t i = 0; i < leading + 2; ++i)
    dims.push_back(builder.getAffineDimExpr(i));
  AffineExpr n = dims[leading], k = dims[leading + 1];
  SmallVector<AffineExpr> x(dims.begin(), dims.begin() + leading);
  SmallVector<AffineExpr> y = x;
  x.push_back(k);
  y.push_back(n);
  SmallVector<AffineMap> maps = AffineMap::inferFromExprList(
      ArrayRef<ArrayRef<AffineExpr>>{x, {n, k}, y}, builder.getContext());
  SmallVector<utils::IteratorType> iterators(leading + 1,
                                             utils::IteratorType::parallel);
  iterators.push_back(utils::IteratorType::reduction);
  auto widened = [](OpBuilder &b, Location loc, Value value, Type to) -> Value {
    if (value.getType() == to)
      return value;
    if (value.getType().getIntOrFloatBitWidth() < to.getIntOrFloatBitWidth())
      return arith::ExtFOp::create(b, loc, to, value);
    return arith::TruncFOp::create(b, loc, to, value);
  };
  return linalg::GenericOp::create(
             builder, loc, type, ValueRange{linear.getInput(), weight}, init,
             maps, iterators,
             [&](OpBuilder &b, Location loc, ValueRange args) {
               Type to = args[2].getType();
               Value product =
                   arith::MulFOp::create(b, loc, widened(b, loc, args[0], to),
                                         widened(b, loc, args[1], to));
               Value sum = arith::AddFOp::create(b, loc, args[2], product);
               linalg::YieldOp::create(b, loc, sum);
             })
      .getResult(0);
}

static void replaceByContraction(lowbit::LinearOp linear, Value weight) {
  OpBuilder builder(linear);
  Value result = buildContraction(builder, linear, weight);
  if (linear.isRouted())
    result = lowbit::selectRoutedRows(builder, linear, result);
  linear.getResult().replaceAllUsesWith(result);
  linear.erase();
}

static LogicalResult refuseUnknownWeight(lowbit::LinearOp linear) {
  return linear.emitError("'")
         << linear.getName()
         << "' has a quantized weight that is not a lowbit.weight";
}

/// Look-ups read the weights where the linears left them. Weights that nothing
/// reads any more go; they mean nothing to other ops.
static LogicalResult lowerLookups(func::FuncOp entry) {
  if (failed(lowbit::lowerLookups(entry)))
    return failure();
  WalkResult rest = entry.walk([&](lowbit::WeightOp op) {
    if (op->use_empty()) {
      op.erase();
      return WalkResult::advance();
    }
    if (llvm::all_of(op->getUsers(), llvm::IsaPred<lowbit::LinearOp>))
      return WalkResult::advance(); // which wait for their kernels
    op.emitError("is used by something that is neither a lowbit.linear nor a "
                 "lowbit.lookup");
    return WalkResult::interrupt();
  });
  return failure(rest.wasInterrupted());
}

/// The weight as floats, computed where it is needed.
static FailureOr<Value> dequantize(lowbit::LinearOp linear) {
  auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
  if (!weight)
    return refuseUnknownWeight(linear);
  OpBuilder builder(linear);
  auto planes = lowbit::emitPlanes(builder, weight);
  if (failed(planes))
    return failure();
  lowbit::WeightType type = weight.getResult().getType();
  auto floats =
      RankedTensorType::get({type.getN(), type.getK()}, builder.getF32Type());
  return type.getScheme().emitDequantize(
      builder, linear.getLoc(), type.getN(), type.getK(), *planes,
      type.getPlaneLayout(), /*rows=*/Value(), floats);
}

/// Whether there are kernels that multiply with the codes themselves: groups
/// must not run on across rows.
static bool hasKernel(lowbit::LinearOp linear) {
  auto type = cast<lowbit::WeightType>(linear.getWeight().getType());
  Scheme scheme;
  if (auto affine = dyn_cast<lowbit::AffineAttr>(type.getScheme()))
    scheme = affine.getScheme();
  else if (auto codebook = dyn_cast<lowbit::CodebookAttr>(type.getScheme()))
    scheme = codebook.getScheme();
  else
    return false;
  return scheme.granularity != Granularity::Flat ||
         type.getK() % scheme.groupSize == 0;
}

/// Where there is no host to call, linears without kernels for their weights
/// become contractions.
static LogicalResult
lowerWithoutHost(Compilation &compilation,
                 function_ref<bool(lowbit::LinearOp)> hasKernel) {
  func::FuncOp entry = compilation.entry;
  SmallVector<lowbit::LinearOp> linears;
  WalkResult calls = entry.walk([&](Operation *op) -> WalkResult {
    if (auto linear = dyn_cast<lowbit::LinearOp>(op))
      linears.push_back(linear);
    else if (isa<lowbit::HostLinearOp, lowbit::HostExpertsOp>(op))
      return op->emitError(compilation.ahead
                               ? "cannot be compiled to an object: '"
                               : "cannot be run on the GPU: '")
             << op->getName() << "' calls the host";
    return WalkResult::advance();
  });
  if (calls.wasInterrupted())
    return failure();
  for (lowbit::LinearOp linear : linears) {
    Value weight = linear.getWeight();
    if (linear.isQuantized()) {
      if (hasKernel(linear))
        continue;
      FailureOr<Value> floats = dequantize(linear);
      if (failed(floats))
        return failure();
      weight = *floats;
    }
    replaceByContraction(linear, weight);
  }
  return success();
}

LogicalResult execution::lowerLinears(Compilation &compilation) {
  if (compilation.onDevice())
    return failure(
        failed(lowerWithoutHost(compilation, hasKernel)) ||
        failed(kernels::lowerLinears(compilation.module, *compilation.chip,
                                     /*compute=*/std::nullopt)) ||
        failed(lowerLookups(compilation.entry)));
  FailureOr<LinearSet> kernels = prepareKernels(compilation);
  if (failed(kernels))
    return failure();
  if (compilation.ahead)
    return failure(failed(lowerWithoutHost(compilation,
                                           [&](lowbit::LinearOp linear) {
                                             return kernels->contains(linear);
                                           })) ||
                   failed(lowerLookups(compilation.entry)));
  int64_t nextId = 0;
  compilation.entry.walk([&](Operation *op) {
    if (auto linear = dyn_cast<lowbit::HostLinearOp>(op))
      nextId = std::max<int64_t>(nextId, linear.getId() + 1);
    if (auto experts = dyn_cast<lowbit::HostExpertsOp>(op))
      for (int64_t id : experts.getIds())
        nextId = std::max(nextId, id + 1);
  });
  SmallVector<lowbit::LinearOp> linears;
  compilation.entry.walk([&](lowbit::LinearOp op) {
    if (!kernels->contains(op))
      linears.push_back(op);
  });
  // A weight that several linears share is read once.
  DenseMap<Value, int64_t> idOfWeight;
  for (lowbit::LinearOp linear : linears) {
    Value weight = linear.getWeight();
    auto quantized = weight.getDefiningOp<lowbit::WeightOp>();
    bool known = quantized || matchPattern(weight, m_Constant());
    if (known) {
      auto [it, isNew] = idOfWeight.insert({weight, nextId});
      if (isNew) {
        ++nextId;
        if (failed(quantized
                       ? addQuantizedWeight(compilation, it->second, quantized)
                       : addFloatWeight(compilation, it->second, linear)))
          return failure();
      }
      callHost(linear, it->second, /*observed=*/false);
    } else if (linear.isQuantized()) {
      return refuseUnknownWeight(linear);
    } else {
      replaceByContraction(linear, weight);
    }
    if (Operation *source = weight.getDefiningOp();
        source && isOpTriviallyDead(source))
      source->erase();
  }
  return lowerLookups(compilation.entry);
}
