//===- Lowering.cpp - CPU kernels to the LLVM dialect ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/CPU/Lowering.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/OpenMP/OpenMPToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace quantopt;

void cpu::registerLowering(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                  memref::MemRefDialect, omp::OpenMPDialect, scf::SCFDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerOpenMPDialectTranslation(registry);
}

/// The conversion to OpenMP wraps each loop body in a scope for its stack
/// buffers, which has no lowering once the body has several blocks.
static void removeStackScopes(ModuleOp module) {
  SmallVector<memref::AllocaScopeOp> scopes;
  module.walk([&](memref::AllocaScopeOp scope) { scopes.push_back(scope); });
  for (memref::AllocaScopeOp scope : scopes) {
    auto loop = scope->getParentOfType<omp::WsloopOp>();
    SmallVector<memref::AllocaOp> buffers;
    scope.walk([&](memref::AllocaOp buffer) { buffers.push_back(buffer); });
    for (memref::AllocaOp buffer : buffers)
      if (loop && buffer->getNumOperands() == 0)
        buffer->moveBefore(loop);
    Block &body = scope.getBodyRegion().front();
    Operation *terminator = body.getTerminator();
    terminator->erase();
    scope->getBlock()->getOperations().splice(scope->getIterator(),
                                              body.getOperations());
    scope.erase();
  }
}

/// A region ends with a barrier; one more at the end of its last loop would
/// cost as much as a small layer's work.
static void removeDoubleBarriers(ModuleOp module) {
  module.walk([](omp::WsloopOp loop) {
    Operation *next = loop->getNextNode();
    if (isa<omp::ParallelOp>(loop->getParentOp()) && next &&
        isa<omp::TerminatorOp>(next) && !loop.getReductionSyms())
      loop.setNowait(true);
  });
}

LogicalResult cpu::lowerParallelLoops(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.addPass(createConvertSCFToOpenMPPass());
  if (failed(passes.run(module)))
    return failure();
  removeStackScopes(module);
  removeDoubleBarriers(module);
  return success();
}

LogicalResult cpu::lowerToLLVM(ModuleOp module, bool barePointers) {
  if (failed(lowerParallelLoops(module)))
    return failure();
  PassManager passes(module.getContext());
  passes.addNestedPass<func::FuncOp>(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createFinalizeMemRefToLLVMConversionPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertIndexToLLVMPass());
  ConvertFuncToLLVMPassOptions calls;
  calls.useBarePtrCallConv = barePointers;
  passes.addPass(createConvertFuncToLLVMPass(calls));
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createConvertOpenMPToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}
