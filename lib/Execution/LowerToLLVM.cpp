//===- LowerToLLVM.cpp - From loops to the LLVM dialect -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "quantopt/Codegen/CPU/Lowering.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Functions whose polynomials vectorise and are accurate to a few units in the
/// last place. Others stay calls of the C library: sine and cosine above all,
/// whose range reduction in float loses digits for large arguments.
static bool hasGoodPolynomial(StringRef name) {
  return llvm::is_contained({"math.exp", "math.tanh", "math.erf"}, name);
}

static LogicalResult expandMath(ModuleOp module) {
  MLIRContext *context = module.getContext();
  for (auto function : module.getOps<func::FuncOp>()) {
    RewritePatternSet patterns(context);
    math::populateExpansionPatterns(patterns, {"fpowi"});
    populateMathPolynomialApproximationPatterns(patterns, hasGoodPolynomial);
    if (failed(applyPatternsGreedily(function, std::move(patterns))))
      return failure();
  }
  return success();
}

/// True if all functions take and return buffers that a pointer describes.
static bool allShapesStatic(ModuleOp module) {
  auto isStatic = [](Type type) {
    auto buffer = dyn_cast<MemRefType>(type);
    if (!buffer)
      return true;
    int64_t offset;
    SmallVector<int64_t> strides;
    return buffer.hasStaticShape() &&
           succeeded(buffer.getStridesAndOffset(strides, offset)) &&
           !ShapedType::isDynamic(offset) &&
           !ShapedType::isDynamicShape(strides);
  };
  for (auto function : module.getOps<func::FuncOp>())
    if (!llvm::all_of(function.getArgumentTypes(), isStatic) ||
        !llvm::all_of(function.getResultTypes(), isStatic))
      return false;
  return true;
}

void execution::buildFreeBuffers(OpPassManager &passes) {
  bufferization::buildBufferDeallocationPipeline(passes);
  passes.addPass(createConvertBufferizationToMemRefPass());
  passes.addNestedPass<func::FuncOp>(
      bufferization::createOptimizeAllocationLivenessPass());
}

LogicalResult execution::lowerToLLVM(Compilation &compilation) {
  ModuleOp module = compilation.module;
  std::string entryName = compilation.entry.getName().str();
  compilation.entry = nullptr; // replaced below
  PassManager passes(module.getContext());
  if (!compilation.onDevice()) // whose stages have done so
    buildFreeBuffers(passes);
  if (failed(passes.run(module)))
    return failure();
  if (!compilation.onDevice() && !compilation.mayWait)
    planBuffers(compilation, module.lookupSymbol<func::FuncOp>(entryName));
  for (const cpu::LinearProblem &problem : compilation.linearKernels)
    cpu::emitLinear(module, problem);
  if (failed(expandMath(module)) || failed(cpu::lowerParallelLoops(module)))
    return failure();
  // Asked only now: deallocation in loops brings a helper of dynamic shapes.
  compilation.barePointers = allShapesStatic(module);
  if (compilation.ahead && !compilation.barePointers)
    return module.emitError("cannot be compiled: it has values whose shape is "
                            "only known when it runs; import the model with "
                            "fixed sizes");
  for (auto function : module.getOps<func::FuncOp>())
    if (function.isPublic() && !compilation.barePointers)
      function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                        UnitAttr::get(module.getContext()));
  passes.clear();
  passes.addNestedPass<func::FuncOp>(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  passes.addPass(arith::createArithExpandOpsPass(expand));
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createConvertVectorToLLVMPass());
  FinalizeMemRefToLLVMConversionPassOptions memory;
  memory.useGenericFunctions = true;
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createConvertMathToLibmPass());
  passes.addPass(createFinalizeMemRefToLLVMConversionPass(memory));
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertIndexToLLVMPass());
  ConvertFuncToLLVMPassOptions calls;
  calls.useBarePtrCallConv = compilation.barePointers;
  passes.addPass(createConvertFuncToLLVMPass(calls));
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createConvertOpenMPToLLVMPass());
  passes.addPass(createUBToLLVMConversionPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}
