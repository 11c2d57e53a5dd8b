//===- AttachData.cpp - Weights and samples from files --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Calibration/Samples.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/Formats/SafeTensors.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITATTACHDATA
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

/// The tensor `key` of `tensors` as a blob of `type`, not copied.
static FailureOr<AsmResourceBlob>
takeBlob(const ArrayMap &tensors, StringRef key, ShapedType type,
         function_ref<InFlightDiagnostic()> emitError) {
  auto it = tensors.find(key.str());
  if (it == tensors.end()) {
    emitError() << "the weights file has no tensor '" << key << "' for "
                << type;
    return failure();
  }
  const HostArray &array = it->second;
  std::optional<DType> dtype = getDType(type.getElementType());
  if (dtype != array.dtype ||
      ArrayRef<int64_t>(array.shape) != type.getShape()) {
    auto diag = emitError();
    diag << "tensor '" << key << "' of the weights file is "
         << dtypeName(array.dtype) << " [";
    llvm::interleaveComma(array.shape, diag);
    diag << "], but the module takes " << type;
    return failure();
  }
  ArrayRef<char> bytes(reinterpret_cast<const char *>(array.data),
                       array.sizeInBytes());
  // The blob shares the mapping of the file.
  return AsmResourceBlob(
      bytes, itemSize(array.dtype),
      [owner = array.owner](void *, size_t, size_t) mutable { owner.reset(); },
      /*dataIsMutable=*/false);
}

/// Fills every dense_resource of `module` that has no data, and with `replace`
/// those that have, if `tensors` names them.
static LogicalResult fillResources(ModuleOp module, const ArrayMap &tensors,
                                   bool replace) {
  auto &manager =
      DenseResourceElementsHandle::getManagerInterface(module.getContext());
  WalkResult result = module.walk([&](arith::ConstantOp op) {
    auto attr = dyn_cast<DenseResourceElementsAttr>(op.getValue());
    if (!attr)
      return WalkResult::advance();
    StringRef key = attr.getRawHandle().getKey();
    if (attr.getRawHandle().getBlob() &&
        !(replace && tensors.contains(key.str())))
      return WalkResult::advance();
    FailureOr<AsmResourceBlob> blob =
        takeBlob(tensors, key, attr.getType(), [&] { return op.emitError(); });
    if (failed(blob))
      return WalkResult::interrupt();
    manager.update(key, std::move(*blob));
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// Turns the arguments of `entry` that are named as parameters into constants.
static LogicalResult bindParameters(func::FuncOp entry,
                                    const ArrayMap &tensors) {
  llvm::BitVector bound(entry.getNumArguments());
  OpBuilder b = OpBuilder::atBlockBegin(&entry.getBody().front());
  for (BlockArgument argument : entry.getArguments()) {
    auto name = entry.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                   kParameterAttr);
    if (!name)
      continue;
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type || !type.hasStaticShape())
      return entry.emitError("parameter '")
             << name.getValue() << "' has type " << argument.getType()
             << ", but only tensors of static shape can be bound";
    FailureOr<AsmResourceBlob> blob =
        takeBlob(tensors, name, type, [&] { return entry.emitError(); });
    if (failed(blob))
      return failure();
    auto attr = createResource(type, name, std::move(*blob));
    argument.replaceAllUsesWith(
        arith::ConstantOp::create(b, entry.getLoc(), attr));
    bound.set(argument.getArgNumber());
  }
  return entry.eraseArguments(bound);
}

namespace {
struct AttachDataPass
    : public quantopt::lowbit::impl::LowBitAttachDataBase<AttachDataPass> {
  using LowBitAttachDataBase::LowBitAttachDataBase;

  LogicalResult attach() {
    ModuleOp module = getOperation();
    auto function = module.lookupSymbol<func::FuncOp>(entry);
    if (!function || function.isExternal())
      return module.emitError("the module has no function '")
             << entry << "' - name its entry function with entry=NAME";
    if (!weights.empty()) {
      llvm::Expected<ArrayMap> tensors = readSafeTensors(weights);
      if (!tensors)
        return module.emitError("cannot read weights: ")
               << llvm::toString(tensors.takeError());
      if (failed(fillResources(module, *tensors, replace)) ||
          failed(bindParameters(function, *tensors)))
        return failure();
    }
    if (calibration.empty())
      return success();
    FailureOr<CalibrationSamples> samples = readSamples(calibration, function);
    if (failed(samples))
      return failure();
    attachSamples(function, *samples);
    return success();
  }

  void runOnOperation() override {
    if (failed(attach()))
      signalPassFailure();
  }
};
} // namespace
