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

LogicalResult convertLayout(WeightOp op, Layout layout) {
  WeightType type = op.getResult().getType();
  if (type.getPlaneLayout() == layout)
    return success();
  int64_t n = type.getN(), k = type.getK();
  SchemeInterface scheme = type.getScheme().getSchemeIn(n, k, layout);
  if (!scheme)
    return op.emitOpError("of layer '")
           << op.getLayer() << "' has groups that run on across rows of " << k
           << " (" << type.getScheme() << "), which the layout '"
           << layoutName(layout)
           << "' does not hold - quantize it without 'flat', or with a group "
              "size that divides the row";
  for (Operation *user : op->getUsers())
    if (!isa<LinearOp, LookupOp>(user))
      return op.emitOpError("of layer '")
             << op.getLayer() << "' is used by '" << user->getName()
             << "', but only a weight of lowbit.linear and lowbit.lookup alone "
                "can change its layout - inline functions first";
  // Functions that share a weight go on to do so, and so do modules.
  auto &known = *op->getDialect()->getRegisteredInterface<ConvertedPlanes>();
  if (auto found = known.find(op.getPlanes(), type, layout)) {
    op.setPlanesAttr(found->planes);
    op.getResult().setType(found->type);
    return success();
  }
  FailureOr<SmallVector<ArrayRef<char>>> data = op.getPlaneData();
  if (failed(data))
    return failure();
  SmallVector<std::vector<uint8_t>> converted = type.getScheme().convertPlanes(
      n, k, *data, type.getPlaneLayout(), layout);

  MLIRContext *context = op.getContext();
  auto newType = WeightType::get(context, n, k, type.getElementType(), scheme,
                                 getLayoutAttr(context, layout));
  PlaneMemory &memory =
      context->getLoadedDialect<LowBitDialect>()->getPlaneMemory();
  SmallVector<NamedAttribute> planes;
  for (auto [plane, bytes] : llvm::zip_equal(newType.getPlanes(), converted)) {
    std::string key = llvm::formatv("{0}.{1}", op.getLayer(), plane.name);
    ArrayRef<char> raw(reinterpret_cast<const char *>(bytes.data()),
                       bytes.size());
    // Those for this processor may be read by kernels of this process.
    ElementsAttr data =
        layout == Layout::Cpu
            ? memory.create(plane.type, key, raw)
            : ElementsAttr(createResource(plane.type, key, raw));
    planes.emplace_back(StringAttr::get(context, plane.name), data);
  }
  auto newPlanes = DictionaryAttr::get(context, planes);
  known.add(op.getPlanes(), type, layout, {newPlanes, newType});
  op.setPlanesAttr(newPlanes);
  op.getResult().setType(newType);
  return success();
}

} // namespace quantopt::lowbit
