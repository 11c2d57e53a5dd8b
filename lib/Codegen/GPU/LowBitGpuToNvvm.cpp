//===- LowBitGpuToNvvm.cpp - Kernels to NVVM ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/GPU/Passes.h"
#include "quantopt/Codegen/GPU/Serialize.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Pass/PassManager.h"

namespace quantopt::kernels {
#define GEN_PASS_DEF_LOWBITGPUTONVVM
#include "quantopt/Codegen/GPU/Passes.h.inc"
} // namespace quantopt::kernels

using namespace mlir;
using namespace quantopt;

namespace {
struct LowBitGpuToNvvmPass
    : public kernels::impl::LowBitGpuToNvvmBase<LowBitGpuToNvvmPass> {
  using LowBitGpuToNvvmBase::LowBitGpuToNvvmBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    LowBitGpuToNvvmBase::getDependentDialects(registry);
    kernels::registerSerialization(registry);
  }

  void runOnOperation() override {
    OpPassManager passes(mlir::gpu::GPUModuleOp::getOperationName());
    kernels::addPassesToNvvm(passes);
    if (failed(runPipeline(passes, getOperation())))
      signalPassFailure();
  }
};
} // namespace
