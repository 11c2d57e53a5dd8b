//===- Compile.cpp - All stages in turn -----------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device/DeviceStages.h"
#include "Stages.h"

#include "quantopt/Execution/CompiledModule.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

void execution::loadExecutionDialects(MLIRContext *context) {
  DialectRegistry registry;
  registerExecutionDialects(registry);
  context->appendDialectRegistry(registry);
  for (StringRef name : registry.getDialectNames())
    context->getOrLoadDialect(name);
}

void execution::setTarget(Compilation &compilation, const cpu::Target &target,
                          const cpu::Products &products) {
  compilation.cpu = target;
  compilation.products = products;
  if (products.compute == cpu::Compute::BF16 && !target.bf16)
    compilation.products.compute = cpu::Compute::F32;
}

LogicalResult execution::compileToLLVM(
    Compilation &compilation, StringRef entry,
    const std::function<void(StringRef, ModuleOp)> &afterStage) {
  auto stage = [&](StringRef name, auto run) -> LogicalResult {
    if (failed(run(compilation)))
      return failure();
    if (afterStage)
      afterStage(name, compilation.module);
    return success();
  };
  if (failed(prepareModule(compilation, entry)) ||
      failed(stage("linears", lowerLinears)) ||
      failed(stage("checks", lowerChecks)) ||
      failed(stage("constants", moveConstantsOut)) ||
      failed(stage("normalize", normalize)) || failed(stage("fuse", fuse)) ||
      failed(stage("bufferize", bufferize)) ||
      failed(stage("outline", outlineKernels)))
    return failure();
  if (compilation.onDevice() ? failed(stage("kernels", emitDeviceKernels)) ||
                                   failed(stage("ptx", generatePtx)) ||
                                   failed(stage("launches", lowerLaunches))
                             : failed(stage("kernels", lowerKernels)))
    return failure();
  return stage("llvm", lowerToLLVM);
}
