//===- GeneratePtx.cpp - From gpu.module to PTX ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX is text, so nothing of the CUDA toolkit is needed: the driver, or the
// emulator, takes it as it is.
//
//===----------------------------------------------------------------------===//

#include "DeviceStages.h"

#include "quantopt/Codegen/GPU/Serialize.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// The size of dynamic shared memory is not known here. LLVM would give an
/// internal array of size 0 one byte, and another array the same address.
static void makeDynamicSharedExternal(gpu::GPUModuleOp module) {
  module.walk([](LLVM::GlobalOp global) {
    auto type = dyn_cast<LLVM::LLVMArrayType>(global.getType());
    if (type && type.getNumElements() == 0)
      global.setLinkage(LLVM::Linkage::External);
  });
}

LogicalResult execution::generatePtx(Compilation &compilation) {
  ModuleOp module = compilation.module;
  for (auto kernels :
       llvm::make_early_inc_range(module.getOps<gpu::GPUModuleOp>())) {
    if (failed(expandDeviceMath(kernels)) ||
        failed(kernels::lowerToNvvm(kernels)))
      return failure();
    makeDynamicSharedExternal(kernels);
    FailureOr<std::string> ptx = kernels::toPtx(kernels);
    if (failed(ptx))
      return failure();
    OpBuilder builder(kernels);
    Attribute object = gpu::ObjectAttr::get(
        builder.getContext(), kernels.getTargetsAttr()[0],
        gpu::CompilationTarget::Assembly, builder.getStringAttr(*ptx),
        /*properties=*/{}, /*kernels=*/{});
    gpu::BinaryOp::create(builder, kernels.getLoc(), kernels.getName(),
                          /*offloadingHandler=*/nullptr, object);
    compilation.ptx[kernels.getName().str()] = std::move(*ptx);
    kernels.erase();
  }
  return success();
}
