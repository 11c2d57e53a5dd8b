//===- Constants.cpp - Constants stay where they are ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Smaller constants are compiled in, where the optimizer sees them. Code for a
/// device sees nothing but buffers.
static constexpr int64_t minExternalElements = 32;

/// The elements as buffers hold them: a byte for each that has fewer bits, and
/// aligned. Copied where they do not lie so.
static FailureOr<const char *> placeConstant(Compilation &compilation,
                                             arith::ConstantOp op,
                                             ElementsAttr attr) {
  int64_t bits = attr.getShapedType().getElementTypeBitWidth();
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (dense && bits < 8) {
    std::shared_ptr<char[]> bytes(new char[dense.getNumElements()]);
    char *to = bytes.get();
    for (const APInt &value : dense.getValues<APInt>())
      *to++ = char(value.getZExtValue());
    compilation.owned.push_back(bytes);
    return bytes.get();
  }
  auto data =
      lowbit::getRawBytes(attr, [&] { return op.emitError("constant: "); });
  if (failed(data))
    return failure();
  int64_t width = std::max<int64_t>(bits / 8, 1);
  if (reinterpret_cast<uintptr_t>(data->data()) % width == 0)
    return data->data();
  std::shared_ptr<char[]> copy(new char[data->size()]);
  std::copy(data->begin(), data->end(), copy.get());
  compilation.owned.push_back(copy);
  return copy.get();
}

LogicalResult execution::moveConstantsOut(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  SmallVector<arith::ConstantOp> constants;
  entry.walk([&](arith::ConstantOp op) {
    if (isa<RankedTensorType>(op.getType()))
      constants.push_back(op);
  });
  DenseMap<Attribute, Value> arguments;
  for (arith::ConstantOp op : constants) {
    if (op->use_empty()) {
      op.erase();
      continue;
    }
    auto type = cast<RankedTensorType>(op.getType());
    auto attr = dyn_cast<ElementsAttr>(op.getValue());
    if (!attr)
      return op.emitError("cannot be run: unknown kind of constant");
    OpBuilder builder(op);
    if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
      if (dense.isSplat() &&
          (type.getNumElements() > 1 || compilation.onDevice())) {
        // As an op, so that it fuses and nothing large is compiled in.
        Value value = arith::ConstantOp::create(
            builder, op.getLoc(),
            cast<TypedAttr>(dense.getSplatValue<Attribute>()));
        Value empty = tensor::EmptyOp::create(
            builder, op.getLoc(), type.getShape(), type.getElementType());
        Value filled =
            linalg::FillOp::create(builder, op.getLoc(), value, empty)
                .getResult(0);
        op.replaceAllUsesWith(filled);
        op.erase();
        continue;
      }
      // One bit an element is not how buffers hold them.
      if (!compilation.onDevice() &&
          (dense.getNumElements() < minExternalElements ||
           type.getElementTypeBitWidth() < 8))
        continue;
    }
    Value &argument = arguments[attr];
    if (!argument) {
      FailureOr<const char *> data = placeConstant(compilation, op, attr);
      if (failed(data))
        return failure();
      compilation.constants.push_back({*data, type});
      unsigned index = entry.getNumArguments();
      DictionaryAttr attrs = builder.getDictionaryAttr(builder.getNamedAttr(
          "bufferization.writable", builder.getBoolAttr(false)));
      if (failed(entry.insertArgument(index, type, attrs, op.getLoc())))
        return failure();
      argument = entry.getArgument(index);
    }
    op.replaceAllUsesWith(argument);
    op.erase();
  }
  // The caller's arrays are read only too, but for those it lets be written.
  auto setWritable = [&](unsigned argument, bool writable) {
    entry.setArgAttr(argument, "bufferization.writable",
                     BoolAttr::get(entry.getContext(), writable));
  };
  for (unsigned i = 0; i < entry.getNumArguments(); ++i)
    setWritable(i, false);
  for (InPlaceArgument updated : compilation.inPlace)
    setWritable(updated.argument, true);
  return success();
}
