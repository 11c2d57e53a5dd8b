//===- Prepare.cpp - One function to compile ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Whether some stage knows what to do with ops of this dialect.
static bool isKnownDialect(Dialect *dialect) {
  return isa_and_nonnull<
      BuiltinDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
      linalg::LinalgDialect, tensor::TensorDialect, scf::SCFDialect,
      cf::ControlFlowDialect, affine::AffineDialect, lowbit::LowBitDialect>(
      dialect);
}

/// Launches of kernels that come with the module, and the buffers of these.
static bool belongsToLaunch(Operation *op) {
  return isa<gpu::LaunchFuncOp, gpu::MemsetOp, memref::AllocOp,
             bufferization::ToBufferOp, bufferization::ToTensorOp>(op);
}

static LogicalResult checkSignature(func::FuncOp entry,
                                    const Compilation &compilation) {
  auto check = [&](TypeRange types, StringRef what) -> LogicalResult {
    for (auto [index, type] : llvm::enumerate(types)) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      if (!tensor || !tensor.getElementType().isIntOrFloat() ||
          tensor.getElementTypeBitWidth() > 64)
        return entry.emitError("cannot be run: ")
               << what << " " << index << " is " << type
               << ", not a ranked tensor of numbers";
      if (compilation.needsStaticShapes() && !tensor.hasStaticShape())
        return entry.emitError(compilation.ahead
                                   ? "cannot be compiled to an object: "
                                   : "cannot be run on the GPU: ")
               << what << " " << index << " is " << type
               << "; import the model with fixed sizes";
    }
    return success();
  };
  if (failed(check(entry.getArgumentTypes(), "argument")) ||
      failed(check(entry.getResultTypes(), "result")))
    return failure();
  return success();
}

LogicalResult execution::prepareModule(Compilation &compilation,
                                       StringRef entryName) {
  ModuleOp module = compilation.module;
  auto entry = module.lookupSymbol<func::FuncOp>(entryName);
  if (!entry) {
    InFlightDiagnostic error = module.emitError("has no function '")
                               << entryName << "'";
    for (auto function : module.getOps<func::FuncOp>())
      error.attachNote(function.getLoc())
          << "there is '" << function.getName() << "'";
    return error;
  }
  if (entry.isExternal())
    return entry.emitError("cannot be run: it has no body");
  if (failed(checkSignature(entry, compilation)))
    return failure();
  FailureOr<SmallVector<InPlaceArgument>> inPlace = inPlaceArguments(entry);
  if (failed(inPlace))
    return failure();
  Signature &signature = compilation.signature;
  signature.inPlace = std::move(*inPlace);
  for (Type type : entry.getArgumentTypes())
    signature.inputs.push_back(cast<RankedTensorType>(type));
  for (Type type : entry.getResultTypes())
    signature.results.push_back(cast<RankedTensorType>(type));
  if (!compilation.onDevice()) // whose buffers are its own
    compilation.inPlace = signature.inPlace;
  compilation.entry = entry;
  entry.setPublic();

  // Only what the entry calls is compiled, and it is inlined.
  for (auto function : module.getOps<func::FuncOp>())
    if (function != entry)
      function.setPrivate();
  bool hasCalls = false;
  entry.walk([&](func::CallOp) { hasCalls = true; });
  PassManager passes(module.getContext());
  if (hasCalls)
    passes.addPass(createInlinerPass());
  passes.addPass(createSymbolDCEPass());
  if (failed(passes.run(module)))
    return failure();

  WalkResult walk = entry.walk([&](Operation *op) -> WalkResult {
    if (auto call = dyn_cast<func::CallOp>(op))
      return call.emitError("cannot be run: the call of '")
             << call.getCallee()
             << "' cannot be inlined (it is external or recursive)";
    if (belongsToLaunch(op)) {
      if (compilation.onDevice())
        return WalkResult::advance();
      return op->emitError("cannot be run on the host: it belongs to a kernel "
                           "for a GPU; run the module there");
    }
    if (!isKnownDialect(op->getDialect()))
      return op->emitError("cannot be run on ")
             << compilation.place()
             << ": quant-opt does not know how to lower '" << op->getName()
             << "'; lower it to linalg on tensors first";
    for (Type type : op->getResultTypes())
      if (isa<UnrankedTensorType, ComplexType, BaseMemRefType>(type) ||
          (isa<RankedTensorType>(type) && !cast<RankedTensorType>(type)
                                               .getElementType()
                                               .isIntOrIndexOrFloat()))
        return op->emitError("cannot be run on ")
               << compilation.place() << ": values of type " << type
               << " are not supported";
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  // Whatever else the module holds (globals of other dialects) is not reached.
  for (Operation &op : llvm::make_early_inc_range(module.getOps()))
    if (&op != entry && !(compilation.onDevice() && isa<gpu::GPUModuleOp>(op)))
      op.erase();
  // Attributes of the arguments speak to other passes (calibration data).
  entry.removeArgAttrsAttr();
  entry.removeResAttrsAttr();
  return success();
}

LogicalResult execution::cleanUp(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
  return passes.run(module);
}
