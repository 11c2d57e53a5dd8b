//===- LinearRun.cpp - A linear layer compiled and run --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include "quantopt/Codegen/CPU/Lowering.h"
#include "quantopt/Runtime/MatrixRegisters.h"

#include "mlir/ExecutionEngine/OptUtils.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/Support/TargetSelect.h"

#include <cstdlib>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

Target cpu::hostTarget() {
  std::string features =
      llvm::cantFail(llvm::orc::JITTargetMachineBuilder::detectHost())
          .getFeatures()
          .getString();
  Target target = targetOf(features);
  if (target.isa == Isa::Amx && !allowMatrixRegisters())
    target.isa = Isa::Avx512;
  return target;
}

CompiledLinear::CompiledLinear(const LinearProblem &problem,
                               std::shared_ptr<MLIRContext> context)
    : context(context) {
  static bool initialized = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;
  DialectRegistry registry;
  registerLowering(registry);
  context->appendDialectRegistry(registry);
  context->loadAllAvailableDialects();
  OpBuilder builder(context.get());
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  func::FuncOp entry = emitLinear(*module, problem);
  entry.setPublic();
  entry->setAttr("llvm.emit_c_interface", builder.getUnitAttr());
  std::string name = entry.getName().str();
  for (Type type : entry.getArgumentTypes())
    shapes.emplace_back(cast<MemRefType>(type).getShape());
  if (std::getenv("QUANTOPT_DUMP_IR"))
    module->dump();
  if (failed(lowerToLLVM(*module)))
    return;
  auto host = llvm::cantFail(llvm::orc::JITTargetMachineBuilder::detectHost());
  host.setCodeGenOptLevel(llvm::CodeGenOptLevel::Aggressive);
  auto machine = llvm::cantFail(host.createTargetMachine());
  auto optimizer = makeOptimizingTransformer(3, 0, machine.get());
  ExecutionEngineOptions options;
  options.transformer = optimizer;
  options.jitCodeGenOptLevel = llvm::CodeGenOptLevel::Aggressive;
  options.enableObjectDump = true;
  engine = llvm::cantFail(
      ExecutionEngine::create(*module, options, std::move(machine)));
  function = llvm::cantFail(engine->lookupPacked("_mlir_ciface_" + name));
  if (const char *file = std::getenv("QUANTOPT_DUMP_OBJECT"))
    engine->dumpToObjectFile(file);
}

void CompiledLinear::run(std::span<void *const> buffers, int64_t m) const {
  if (!function)
    return;
  SmallVector<SmallVector<int64_t>> descriptors;
  for (auto [buffer, shape] : llvm::zip_equal(buffers, shapes)) {
    auto &words = descriptors.emplace_back();
    words.append(2, reinterpret_cast<int64_t>(buffer));
    words.push_back(0);
    for (int64_t size : shape)
      words.push_back(ShapedType::isDynamic(size) ? m : size);
    if (shape.size() == 2)
      words.push_back(shape[1]);
    words.push_back(1);
  }
  SmallVector<void *> pointers, packed;
  for (auto &words : descriptors)
    pointers.push_back(words.data());
  for (void *&pointer : pointers)
    packed.push_back(&pointer);
  function(packed.data());
}
