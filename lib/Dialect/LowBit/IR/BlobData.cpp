//===- BlobData.cpp - Bytes behind constant attributes --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;

namespace quantopt::lowbit {

int64_t blobSize(ShapedType type) {
  unsigned bits = type.getElementTypeBitWidth();
  return type.getNumElements() * llvm::divideCeil(bits, 8u);
}

FailureOr<ArrayRef<char>>
getRawBytes(ElementsAttr attr, function_ref<InFlightDiagnostic()> emitError) {
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense.getRawData();
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  if (!resource) {
    emitError() << "the constant is neither dense nor dense_resource - "
                   "materialise it first";
    return failure();
  }
  StringRef key = resource.getRawHandle().getKey();
  AsmResourceBlob *blob = resource.getRawHandle().getBlob();
  if (!blob) {
    emitError() << "resource '" << key
                << "' has no data (missing or elided) - attach it with "
                   "--lowbit-attach-data=weights=FILE, or print the module "
                   "without eliding resources";
    return failure();
  }
  ArrayRef<char> bytes = blob->getData();
  int64_t expected = blobSize(resource.getType());
  if (static_cast<int64_t>(bytes.size()) != expected) {
    emitError() << "resource '" << key << "' holds " << bytes.size()
                << " bytes where " << resource.getType() << " takes "
                << expected << " - the file is damaged or its type was edited";
    return failure();
  }
  return bytes;
}

DenseResourceElementsAttr createResource(RankedTensorType type, StringRef key,
                                         AsmResourceBlob blob) {
  auto &manager =
      DenseResourceElementsHandle::getManagerInterface(type.getContext());
  return DenseResourceElementsAttr::get(type,
                                        manager.insert(key, std::move(blob)));
}

DenseResourceElementsAttr createResource(RankedTensorType type, StringRef key,
                                         ArrayRef<char> bytes) {
  return createResource(
      type, key, HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64));
}

} // namespace quantopt::lowbit
