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

/// The value that the view op behind `value` looks at, or null.
static Value viewSource(Value value) {
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

Value skipViews(Value value) {
  while (Value source = viewSource(value))
    value = source;
  return value;
}

static bool isZero(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant && constant.getValue() == 0;
}

/// Rewrites `view` of the source to a view of the result of `op`.
static bool applyView(Operation *op, ConstantView &view) {
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
  while (Value source = viewSource(value)) {
    views.push_back(value.getDefiningOp());
    value = source;
  }
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!constant || !type || !isa<ElementsAttr>(constant.getValue()))
    return std::nullopt;
  ConstantView view;
  view.constant = constant;
  view.shape = llvm::to_vector(type.getShape());
  view.strides.resize(type.getRank());
  int64_t stride = 1;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    view.strides[dim] = stride;
    stride *= view.shape[dim];
  }
  for (Operation *op : llvm::reverse(views))
    if (!applyView(op, view))
      return std::nullopt;
  return view;
}

/// Whether walking `view` in row-major order walks the whole constant in order.
static bool isIdentity(const ConstantView &view) {
  int64_t stride = 1;
  for (auto [extent, step] : llvm::zip_equal(llvm::reverse(view.shape),
                                             llvm::reverse(view.strides))) {
    if (extent == 1)
      continue;
    if (step != stride)
      return false;
    stride *= extent;
  }
  return view.offset == 0 && stride == view.data().getNumElements();
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

FailureOr<ElementsAttr> materialize(const ConstantView &view, int64_t n,
                                    int64_t k, StringRef key) {
  ElementsAttr attr = view.data();
  auto type = RankedTensorType::get({n, k}, attr.getElementType());
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (dense && dense.isSplat())
    return ElementsAttr(dense.resizeSplat(type));
  if (isIdentity(view)) {
    if (dense)
      return ElementsAttr(dense.reshape(type));
    auto resource = cast<DenseResourceElementsAttr>(attr);
    return ElementsAttr(
        DenseResourceElementsAttr::get(type, resource.getRawHandle()));
  }
  arith::ConstantOp constant = view.constant;
  FailureOr<ArrayRef<char>> data = getRawBytes(attr, [&] {
    return emitError(constant.getLoc(), "weight of layer '") << key << "': ";
  });
  if (failed(data))
    return failure();
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(
      blobSize(type), /*align=*/64, /*dataIsMutable=*/true);
  copyElements(view, data->data(), type.getElementTypeBitWidth() / 8,
               blob.getMutableData().data());
  return ElementsAttr(createResource(type, key, std::move(blob)));
}

} // namespace quantopt::lowbit
