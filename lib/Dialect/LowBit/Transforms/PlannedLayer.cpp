//===- PlannedLayer.cpp - A weight to quantize ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlannedLayer.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Runtime/Matrix.h"
#include "quantopt/Runtime/Pages.h"

using namespace mlir;

namespace quantopt::lowbit {

Operation *PlannedLayer::reader() const {
  return linear ? LinearOp(linear).getOperation()
                : linalg::GenericOp(gathers.front().op).getOperation();
}

arith::ConstantOp PlannedLayer::constant() const {
  return linear
             ? LinearOp(linear).getWeight().getDefiningOp<arith::ConstantOp>()
             : gathers.front().table();
}

FailureOr<WeightValues> readWeight(const PlannedLayer &layer) {
  auto attr = cast<ElementsAttr>(layer.constant().getValue());
  FailureOr<ArrayRef<char>> bytes = getRawBytes(attr, [&] {
    return layer.reader()->emitError("weight of layer '")
           << layer.name << "': ";
  });
  if (failed(bytes))
    return failure();
  FloatKind kind = *getFloatKind(attr.getElementType());
  int64_t count = attr.getNumElements();
  WeightValues weight;
  bool splat = attr.isSplat();
  if (kind == FloatKind::F32 && !splat &&
      llvm::isAddrAligned(llvm::Align(4), bytes->data())) {
    weight.values = {reinterpret_cast<const float *>(bytes->data()),
                     static_cast<size_t>(count)};
    return weight;
  }
  weight.storage.resize(count);
  if (splat) {
    widen(kind, bytes->data(), 1, weight.storage.data());
    llvm::fill(weight.storage, weight.storage[0]);
  } else {
    widen(kind, bytes->data(), count, weight.storage.data());
  }
  weight.values = weight.storage;
  return weight;
}

void releaseConstant(arith::ConstantOp constant) {
  auto attr = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
  AsmResourceBlob *blob = attr ? attr.getRawHandle().getBlob() : nullptr;
  if (blob)
    releasePages(blob->getData().data(), blob->getData().size());
}

void releaseWeight(const PlannedLayer &layer) {
  releaseConstant(layer.constant());
}

} // namespace quantopt::lowbit
