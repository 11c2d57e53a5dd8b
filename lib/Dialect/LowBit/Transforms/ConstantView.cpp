//===- ConstantView.cpp - Constant data seen through shape ops ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantView.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace quantopt::lowbit {

Attribute dataIdentity(arith::ConstantOp constant) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue()))
    return StringAttr::get(constant.getContext(),
                           resource.getRawHandle().getKey());
  return constant.getValue();
}

std::optional<std::string> parameterName(arith::ConstantOp constant) {
  auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
  if (!resource)
    return std::nullopt;
  StringRef key = resource.getRawHandle().getKey();
  key.consume_back(".weight");
  return key.str();
}

/// The operand that `generic` copies, if it only permutes, broadcasts or drops
/// unit dimensions; else null.
static Value copiedOperand(linalg::GenericOp generic) {
  if (generic.getNumDpsInputs() != 1 || generic.getNumResults() != 1 ||
      generic.getNumReductionLoops() != 0 ||
      !generic.getIndexingMapsArray()[1].isIdentity())
    return {};
  auto yield = cast<linalg::YieldOp>(generic.getBody()->getTerminator());
  return yield.getOperand(0) == generic.getBody()->getArgument(0)
             ? generic.getDpsInputOperand(0)->get()
             : Value();
}

Value viewSource(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<linalg::TransposeOp, linalg::BroadcastOp>(
          [](auto op) { return op.getInput(); })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
          [](auto op) { return op.getSrc(); })
      .Case<tensor::CastOp, tensor::ExtractSliceOp>(
          [](auto op) { return op.getSource(); })
      .Case<linalg::GenericOp>([](auto op) { return copiedOperand(op); })
      .Default([](Operation *) { return Value(); });
}

Value skipViews(Value value, SmallVectorImpl<Operation *> &views) {
  while (Value source = viewSource(value)) {
    views.push_back(value.getDefiningOp());
    value = source;
  }
  return value;
}

Value skipViews(Value value) {
  SmallVector<Operation *> views;
  return skipViews(value, views);
}

StridedView StridedView::rowMajor(ArrayRef<int64_t> shape) {
  StridedView view;
  view.shape = llvm::to_vector(shape);
  view.strides.resize(shape.size());
  int64_t stride = 1;
  for (int64_t dim = shape.size() - 1; dim >= 0; --dim) {
    view.strides[dim] = stride;
    stride *= shape[dim];
  }
  return view;
}

bool StridedView::isContiguous() const {
  int64_t expected = 1;
  for (auto [extent, stride] :
       llvm::zip_equal(llvm::reverse(shape), llvm::reverse(strides))) {
    if (extent == 1)
      continue;
    if (stride != expected)
      return false;
    expected *= extent;
  }
  return true;
}

static bool isZero(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant && constant.getValue() == 0;
}

bool applyView(Operation *op, StridedView &view) {
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  if (!resultType.hasStaticShape())
    return false;
  ArrayRef<int64_t> shape = resultType.getShape();
  SmallVector<int64_t> strides(shape.size(), 0);
  if (auto transpose = dyn_cast<linalg::TransposeOp>(op)) {
    for (auto [i, source] : llvm::enumerate(transpose.getPermutation()))
      strides[i] = view.strides[source];
  } else if (auto broadcast = dyn_cast<linalg::BroadcastOp>(op)) {
    unsigned next = 0;
    for (unsigned i = 0; i < shape.size(); ++i)
      if (!llvm::is_contained(broadcast.getDimensions(), i))
        strides[i] = view.strides[next++];
  } else if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
    AffineMap map = generic.getIndexingMapsArray()[0];
    for (auto [expr, stride] :
         llvm::zip_equal(map.getResults(), view.strides)) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        strides[dim.getPosition()] += stride;
      else if (!isZero(expr))
        return false;
    }
  } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    for (auto [i, group] : llvm::enumerate(expand.getReassociationIndices())) {
      int64_t stride = view.strides[i];
      for (int64_t dim : llvm::reverse(group)) {
        strides[dim] = stride;
        stride *= shape[dim];
      }
    }
  } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    for (auto [i, group] :
         llvm::enumerate(collapse.getReassociationIndices())) {
      // Dimensions merge only where stepping past the inner one is one step of
      // the outer one.
      std::optional<int64_t> inner, extent;
      for (int64_t dim : llvm::reverse(group)) {
        if (view.shape[dim] == 1)
          continue;
        if (!inner)
          inner = view.strides[dim], extent = 1;
        else if (view.strides[dim] != *inner * *extent)
          return false;
        *extent *= view.shape[dim];
      }
      strides[i] = inner.value_or(0);
    }
  } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    if (!slice.hasUnitStride() ||
        llvm::any_of(slice.getStaticOffsets(), ShapedType::isDynamic))
      return false;
    for (auto [offset, stride] :
         llvm::zip_equal(slice.getStaticOffsets(), view.strides))
      view.offset += offset * stride;
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    unsigned next = 0;
    for (auto [i, stride] : llvm::enumerate(view.strides))
      if (!dropped.test(i))
        strides[next++] = stride;
  } else {
    strides = view.strides; // a cast between static shapes
  }
  view.shape = llvm::to_vector(shape);
  view.strides = std::move(strides);
  return true;
}

std::optional<ConstantView> traceConstant(Value value) {
  SmallVector<Operation *> views;
  value = skipViews(value, views);
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!constant || !type || !isa<ElementsAttr>(constant.getValue()))
    return std::nullopt;
  ConstantView view = {StridedView::rowMajor(type.getShape()), constant};
  for (Operation *op : llvm::reverse(views))
    if (!applyView(op, view))
      return std::nullopt;
  return view;
}

/// Copies the elements of `view` to `out`, `size` bytes each.
static void copyElements(const ConstantView &view, const char *data,
                         unsigned size, char *out) {
  SmallVector<int64_t> index(view.shape.size(), 0);
  int64_t total = ShapedType::getNumElements(view.shape);
  int64_t position = view.offset;
  for (int64_t i = 0; i < total; ++i, out += size) {
    std::memcpy(out, data + position * size, size);
    for (int64_t dim = view.shape.size() - 1; dim >= 0; --dim) {
      position += view.strides[dim];
      if (++index[dim] < view.shape[dim])
        break;
      position -= view.strides[dim] * view.shape[dim];
      index[dim] = 0;
    }
  }
}

/// The constant itself as [n, k], if `view` is all of it in its order or it is
/// a splat; else null.
static ElementsAttr reshaped(const ConstantView &view, RankedTensorType type) {
  ElementsAttr attr = view.data();
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (dense && dense.isSplat())
    return dense.resizeSplat(type);
  if (!view.isContiguous() || view.offset != 0 ||
      type.getNumElements() != attr.getNumElements())
    return {};
  if (dense)
    return dense.reshape(type);
  return DenseResourceElementsAttr::get(
      type, cast<DenseResourceElementsAttr>(attr).getRawHandle());
}

FailureOr<ElementsAttr> ViewData::materialize(const ConstantView &view,
                                              int64_t n, int64_t k,
                                              StringRef key) {
  ElementsAttr attr = view.data();
  auto type = RankedTensorType::get({n, k}, attr.getElementType());
  if (ElementsAttr whole = reshaped(view, type))
    return whole;
  auto vector = [](ArrayRef<int64_t> values) { return values.vec(); };
  ElementsAttr &result = known[{attr.getAsOpaquePointer(), view.offset,
                                vector(view.shape), vector(view.strides), n}];
  if (result)
    return result;
  arith::ConstantOp constant = view.constant;
  FailureOr<ArrayRef<char>> data = getRawBytes(attr, [&] {
    return emitError(constant.getLoc(), "weight of layer '") << key << "': ";
  });
  if (failed(data))
    return failure();
  int64_t width = type.getElementTypeBitWidth() / 8;
  if (view.isContiguous() && isa<DenseResourceElementsAttr>(attr)) {
    // The blob that it points into is kept as long as the context.
    result = createResource(
        type, key,
        UnmanagedAsmResourceBlob::allocateWithAlign(
            data->slice(view.offset * width, blobSize(type)), width));
    return result;
  }
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(
      blobSize(type), /*align=*/64, /*dataIsMutable=*/true);
  copyElements(view, data->data(), width, blob.getMutableData().data());
  result = createResource(type, key, std::move(blob));
  return result;
}

} // namespace quantopt::lowbit
