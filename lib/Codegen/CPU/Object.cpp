//===- Object.cpp - CPU code as an object file ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/CPU/Object.h"

#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"

using namespace quantopt;

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
cpu::createMachine(llvm::StringRef tripleName, llvm::StringRef cpu,
                   llvm::StringRef features) {
  static bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)initialized;
  if (tripleName.empty()) {
    auto builder = llvm::orc::JITTargetMachineBuilder::detectHost();
    if (!builder)
      return builder.takeError();
    builder->setCodeGenOptLevel(llvm::CodeGenOptLevel::Aggressive);
    builder->setRelocationModel(llvm::Reloc::PIC_);
    return builder->createTargetMachine();
  }
  llvm::Triple triple{llvm::Triple::normalize(tripleName)};
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return llvm::createStringError(message);
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, cpu, features, llvm::TargetOptions(), llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    return llvm::createStringError("no code can be made for " + triple.str());
  return machine;
}

cpu::Target cpu::targetOf(const llvm::TargetMachine &machine) {
  // Those that a processor's name implies count too.
  llvm::SmallVector<const char *> names;
  if (machine.getTargetTriple().isX86())
    names = {"+avx512f",    "+avx512bw",   "+avx512vl",   "+avx512dq",
             "+avx512vbmi", "+avx512vnni", "+avx512bf16", "+amx-tile",
             "+amx-int8",   "+amx-bf16",   "+avx2",       "+fma",
             "+f16c",       "+avxvnni"};
  else if (machine.getTargetTriple().isAArch64())
    names = {"+neon", "+dotprod"};
  std::string features;
  for (const char *name : names)
    if (machine.getMCSubtargetInfo()->checkFeatures(name))
      features += std::string(features.empty() ? "" : ",") + name;
  return targetOf(features);
}

llvm::Error cpu::writeObject(mlir::ModuleOp module,
                             llvm::TargetMachine &machine,
                             llvm::raw_pwrite_stream &os) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvmModule =
      mlir::translateModuleToLLVMIR(module, context);
  if (!llvmModule)
    return llvm::createStringError("the code cannot be translated to LLVM IR");
  return writeObject(*llvmModule, machine, os);
}

llvm::Error cpu::writeObject(llvm::Module &module, llvm::TargetMachine &machine,
                             llvm::raw_pwrite_stream &os) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  auto optimize = mlir::makeOptimizingTransformer(3, 0, &machine);
  if (llvm::Error error = optimize(&module))
    return error;
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, os, nullptr,
                                  llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("no object file can be made for " +
                                   machine.getTargetTriple().str());
  passes.run(module);
  return llvm::Error::success();
}
