//===- AwqRewrite.cpp - Factors into constants and ops --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqFold.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Runtime/Matrix.h"

using namespace mlir;

namespace quantopt::lowbit {

/// The elements of a float constant.
static FailureOr<std::vector<float>> readFloats(arith::ConstantOp constant,
                                                const Twine &what) {
  auto attr = cast<ElementsAttr>(constant.getValue());
  FailureOr<ArrayRef<char>> bytes =
      getRawBytes(attr, [&] { return constant.emitError(what) << ": "; });
  if (failed(bytes))
    return failure();
  FloatKind kind = *getFloatKind(attr.getElementType());
  std::vector<float> values(attr.getNumElements());
  if (attr.isSplat()) {
    float value;
    widen(kind, bytes->data(), 1, &value);
    llvm::fill(values, value);
  } else {
    widen(kind, bytes->data(), values.size(), values.data());
  }
  return values;
}

/// A constant of `type` with `values`, called `key` if it is a resource: what
/// was inline stays inline.
static Value createConstant(OpBuilder &b, Location loc, RankedTensorType type,
                            ArrayRef<float> values, StringRef key,
                            bool isResource) {
  FloatKind kind = *getFloatKind(type.getElementType());
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(
      blobSize(type), /*align=*/64, /*dataIsMutable=*/true);
  narrow(kind, values.data(), values.size(), blob.getMutableData().data());
  ElementsAttr attr;
  if (isResource)
    attr = createResource(type, key, std::move(blob));
  else
    attr = DenseElementsAttr::getFromRawBuffer(type, blob.getData());
  return arith::ConstantOp::create(b, loc, attr);
}

/// Sets `use` to a constant like the one it reads, but with `values`.
static void replaceConstant(OpOperand &use, ArrayRef<float> values) {
  auto old = use.get().getDefiningOp<arith::ConstantOp>();
  auto resource = dyn_cast<DenseResourceElementsAttr>(old.getValue());
  OpBuilder b(old);
  use.set(createConstant(
      b, old.getLoc(), cast<RankedTensorType>(old.getType()), values,
      resource ? resource.getRawHandle().getKey() : "", resource != nullptr));
  if (old->use_empty())
    old.erase();
}

static LogicalResult applyTo(const Fold::Constant &taker,
                             ArrayRef<float> factors) {
  auto constant = taker.use->get().getDefiningOp<arith::ConstantOp>();
  FailureOr<std::vector<float>> values = readFloats(constant, "constant");
  if (failed(values))
    return failure();
  for (auto [value, channel] :
       llvm::zip_equal(*values, taker.channels.enumerate()))
    if (channel >= 0) {
      double factor = factors[channel];
      value = factor * value + (factor - 1) * taker.shift;
    }
  replaceConstant(*taker.use, *values);
  return success();
}

LogicalResult applyFold(const Fold &fold, ArrayRef<float> factors,
                        WeightFactorMap &weights) {
  for (const Fold::Constant &taker : fold.constants)
    if (failed(applyTo(taker, factors)))
      return failure();
  for (const Fold::Rows &taker : fold.rows) {
    LinearOp linear = taker.linear;
    std::vector<float> &rows = weights[linear].rows;
    rows.resize(linear.getN(), 1.0f);
    const ChannelDim &channels = taker.channels;
    for (int64_t i = 0; i < channels.size; ++i)
      rows[channels.begin + i] *= factors[i * channels.stride];
  }
  return success();
}

void followFold(const Fold &fold, const Fold &other) {
  for (auto [from, to] : llvm::zip_equal(fold.constants, other.constants))
    followConstant(*from.use, *to.use);
}

void followConstant(OpOperand &from, OpOperand &to) {
  auto constant = from.get().getDefiningOp<arith::ConstantOp>();
  auto old = to.get().getDefiningOp<arith::ConstantOp>();
  OpBuilder b(old);
  to.set(arith::ConstantOp::create(b, old.getLoc(), constant.getValue()));
  if (old->use_empty())
    old.erase();
}

LogicalResult applyFactors(LinearOp linear, const WeightFactors &factors) {
  auto constant = linear.getWeight().getDefiningOp<arith::ConstantOp>();
  FailureOr<std::vector<float>> values =
      readFloats(constant, "weight of layer '" + linear.getName() + "'");
  if (failed(values))
    return failure();
  int64_t n = linear.getN(), k = linear.getK();
  for (int64_t row = 0; row < n; ++row) {
    float *w = values->data() + row * k;
    if (!factors.columns.empty())
      for (int64_t column = 0; column < k; ++column)
        w[column] *= factors.columns[column];
    if (!factors.rows.empty())
      for (int64_t column = 0; column < k; ++column)
        w[column] *= factors.rows[row];
  }
  replaceConstant(linear.getWeightMutable(), *values);
  return success();
}

/// x -> x * factors, along the last dimension
static Value multiplyChannels(Value x, ArrayRef<float> factors, StringRef key) {
  OpBuilder b(x.getContext());
  b.setInsertionPointAfterValue(x);
  auto type = cast<RankedTensorType>(x.getType());
  int64_t rank = type.getRank(), k = type.getShape().back();
  Location loc = x.getLoc();
  Value constant =
      createConstant(b, loc, RankedTensorType::get(k, type.getElementType()),
                     factors, key, /*isResource=*/true);
  Value empty =
      tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  AffineMap all = b.getMultiDimIdentityMap(rank);
  SmallVector<AffineMap> maps = {
      all, AffineMap::get(rank, 0, b.getAffineDimExpr(rank - 1)), all};
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, loc, type, ValueRange{x, constant}, empty, maps, loops,
             [](OpBuilder &b, Location loc, ValueRange args) {
               Value product = arith::MulFOp::create(b, loc, args[0], args[1]);
               linalg::YieldOp::create(b, loc, product);
             })
      .getResult(0);
}

void insertMultiply(ArrayRef<LinearOp> linears, ArrayRef<float> factors) {
  DenseMap<Value, Value> products;
  for (LinearOp linear : linears) {
    Value &product = products[linear.getInput()];
    if (!product)
      product = multiplyChannels(linear.getInput(), factors,
                                 (linear.getName() + ".input_factors").str());
    linear.getInputMutable().assign(product);
  }
}

} // namespace quantopt::lowbit
