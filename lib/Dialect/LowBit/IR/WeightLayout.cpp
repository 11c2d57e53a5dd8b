//===- WeightLayout.cpp - Weights in another layout -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"

#include "ConvertedPlanes.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/PlaneMemory.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt::lowbit {

/// The type of `op` in `layout`.
static FailureOr<WeightType> typeIn(WeightOp op, Layout layout) {
  WeightType type = op.getResult().getType();
  if (type.getPlaneLayout() == layout)
    return type;
  int64_t n = type.getN(), k = type.getK();
  SchemeInterface scheme = type.getScheme().getSchemeIn(n, k, layout);
  if (!scheme)
    return op.emitOpError("of layer '")
           << op.getLayer() << "' has groups that run on across rows of " << k
           << " (" << type.getScheme() << "), which the layout '"
           << layoutName(layout)
           << "' does not hold - quantize it without 'flat', or with a group "
              "size that divides the row";
  return WeightType::get(op.getContext(), n, k, type.getElementType(), scheme,
                         getLayoutAttr(op.getContext(), layout));
}

static AsmResourceBlob onHeap(ArrayRef<ArrayRef<char>> parts) {
  size_t size = 0;
  for (ArrayRef<char> part : parts)
    size += part.size();
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(size, 64);
  char *to = blob.getMutableData().data();
  for (ArrayRef<char> part : parts)
    to = llvm::copy(part, to);
  return blob;
}

/// The planes of `weights` one after the other, in the layout of `type`, as
/// constants whose first dimensions are `shape`.
static FailureOr<DictionaryAttr> createPlanes(ArrayRef<WeightOp> weights,
                                              WeightType type, StringRef key,
                                              ArrayRef<int64_t> shape) {
  MLIRContext *context = type.getContext();
  Layout layout = type.getPlaneLayout();
  SmallVector<SmallVector<ArrayRef<char>>> parts(type.getPlanes().size());
  SmallVector<SmallVector<std::vector<uint8_t>>> converted;
  for (WeightOp op : weights) {
    FailureOr<SmallVector<ArrayRef<char>>> data = op.getPlaneData();
    if (failed(data))
      return failure();
    WeightType from = op.getResult().getType();
    if (from.getPlaneLayout() != layout) {
      converted.push_back(from.getScheme().convertPlanes(
          from.getN(), from.getK(), *data, from.getPlaneLayout(), layout));
      data->clear();
      for (const std::vector<uint8_t> &bytes : converted.back())
        data->emplace_back(reinterpret_cast<const char *>(bytes.data()),
                           bytes.size());
    }
    for (auto [all, bytes] : llvm::zip_equal(parts, *data))
      all.push_back(bytes);
  }
  PlaneMemory &memory =
      context->getLoadedDialect<LowBitDialect>()->getPlaneMemory();
  SmallVector<NamedAttribute> planes;
  for (auto [plane, bytes] : llvm::zip_equal(type.getPlanes(), parts)) {
    SmallVector<int64_t> sizes(shape);
    llvm::append_range(sizes, plane.type.getShape());
    auto joined = RankedTensorType::get(sizes, plane.type.getElementType());
    std::string name = llvm::formatv("{0}.{1}", key, plane.name);
    // Those for this processor may be read by kernels of this process.
    ElementsAttr data =
        layout == Layout::Cpu
            ? memory.create(joined, name, bytes)
            : ElementsAttr(createResource(joined, name, onHeap(bytes)));
    planes.emplace_back(StringAttr::get(context, plane.name), data);
  }
  return DictionaryAttr::get(context, planes);
}

LogicalResult convertLayout(WeightOp op, Layout layout) {
  WeightType type = op.getResult().getType();
  if (type.getPlaneLayout() == layout)
    return success();
  FailureOr<WeightType> newType = typeIn(op, layout);
  if (failed(newType))
    return failure();
  for (Operation *user : op->getUsers())
    if (!isa<LinearOp, LookupOp>(user))
      return op.emitOpError("of layer '")
             << op.getLayer() << "' is used by '" << user->getName()
             << "', but only a weight of lowbit.linear and lowbit.lookup alone "
                "can change its layout - inline functions first";
  // Functions that share a weight go on to do so, and so do modules.
  auto &known = *op->getDialect()->getRegisteredInterface<ConvertedPlanes>();
  DictionaryAttr planes = known.find(op.getPlanes(), type, layout);
  if (!planes) {
    auto created = createPlanes(op, *newType, op.getLayer(), /*shape=*/{});
    if (failed(created))
      return failure();
    planes = *created;
    known.add(op.getPlanes(), type, layout, planes);
  }
  op.setPlanesAttr(planes);
  op.getResult().setType(*newType);
  return success();
}

FailureOr<SmallVector<ElementsAttr>> joinPlanes(ArrayRef<WeightOp> weights,
                                                Layout layout) {
  WeightOp first = weights.front();
  WeightType type = first.getResult().getType();
  FailureOr<WeightType> newType = typeIn(first, layout);
  if (failed(newType))
    return failure();
  SmallVector<Attribute> each;
  for (WeightOp op : weights)
    each.push_back(op.getPlanes());
  auto key = ArrayAttr::get(type.getContext(), each);
  auto &known = *first->getDialect()->getRegisteredInterface<ConvertedPlanes>();
  DictionaryAttr planes = known.find(key, type, layout);
  if (!planes) {
    auto created =
        createPlanes(weights, *newType, (first.getLayer() + ".experts").str(),
                     int64_t(weights.size()));
    if (failed(created))
      return failure();
    planes = *created;
    known.add(key, type, layout, planes);
  }
  return llvm::map_to_vector(newType->getPlanes(), [&](const Plane &plane) {
    return planes.getAs<ElementsAttr>(plane.name);
  });
}

} // namespace quantopt::lowbit
