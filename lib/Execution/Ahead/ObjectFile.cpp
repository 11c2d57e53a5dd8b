//===- ObjectFile.cpp - A module as an object file and a header -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The stages of a compilation for this process, with two more: results are
// memory of the caller, and buffers have places in an arena. What comes out is
// joined with the code of Wrapper.c.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/ObjectFile.h"

#include "Ahead/Interface.h"
#include "Ahead/WeightsFile.h"
#include "Ahead/WrapperCode.h"
#include "Stages.h"

#include "quantopt/Codegen/CPU/Object.h"
#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Formats/Files.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

namespace {
class ObjectWriter {
public:
  ObjectWriter(ModuleOp original, StringRef path, const ObjectOptions &options)
      : original(original), path(path), options(options) {}

  LogicalResult run();

private:
  InFlightDiagnostic fail() {
    return emitError(original.getLoc(), "cannot be compiled to an object: ");
  }
  LogicalResult fail(llvm::Error error) {
    return fail() << llvm::toString(std::move(error));
  }
  LogicalResult findEntries();
  LogicalResult startModule();
  LogicalResult addEntry(StringRef name);
  LogicalResult writeFiles();

  ModuleOp original;
  std::string path;
  const ObjectOptions &options;
  std::vector<std::string> entries;
  std::unique_ptr<llvm::TargetMachine> machine;
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> code;
  ObjectInterface interface;
  WeightsFile weights;
  // They own constants until these are written.
  std::vector<std::unique_ptr<Compilation>> compilations;
};
} // namespace

/// Letters, digits and underscores, no digit first.
static bool isIdentifier(StringRef name) {
  return !name.empty() && !llvm::isDigit(name.front()) &&
         llvm::all_of(name,
                      [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

LogicalResult ObjectWriter::findEntries() {
  interface.name = llvm::sys::path::filename(path).str();
  if (!isIdentifier(interface.name))
    return fail() << "its symbols would begin with '" << interface.name
                  << "', which is no identifier of C; choose another file name";
  entries = options.entries;
  if (entries.empty())
    for (auto function : original.getOps<func::FuncOp>())
      if (function.isPublic() && !function.isExternal())
        entries.push_back(function.getName().str());
  if (entries.empty())
    return fail() << "there is no public function";
  for (const std::string &name : entries) {
    if (!isIdentifier(name))
      return fail() << "function '" << name << "' has no name for C";
    if (llvm::is_contained({"open", "close", "message", "model"}, name))
      return fail() << "the name of function '" << name
                    << "' is taken; rename it";
  }
  return success();
}

/// The code of Wrapper.c, to which everything else is added.
LogicalResult ObjectWriter::startModule() {
  auto target =
      cpu::createMachine(options.triple, options.cpu, options.features);
  if (!target)
    return fail(target.takeError());
  machine = std::move(*target);
  // What suits code in memory would need a runtime of LLVM's in a file.
  machine->Options.EmulatedTLS = false;
  llvm::SMDiagnostic error;
  code = llvm::parseAssemblyString(wrapperCode, error, llvmContext);
  if (!code)
    return fail() << error.getMessage().str();
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : *code)
    for (StringRef attr : {"target-cpu", "target-features", "tune-cpu"})
      function.removeFnAttr(attr);
  return success();
}

/// What the processor can do, as cpu::targetOf takes it.
static std::string featureText(const llvm::TargetMachine &machine) {
  std::string text;
  for (const llvm::SubtargetFeatureKV &feature :
       machine.getMCSubtargetInfo()->getEnabledProcessorFeatures())
    text += std::string("+") + feature.Key + ",";
  return text;
}

LogicalResult ObjectWriter::addEntry(StringRef name) {
  OwningOpRef<ModuleOp> module = original.clone();
  compilations.push_back(std::make_unique<Compilation>());
  Compilation &compilation = *compilations.back();
  compilation.module = *module;
  compilation.ahead = true;
  cpu::Target target = cpu::targetOf(featureText(*machine));
  interface.usesMatrices = target.isa == cpu::Isa::Amx;
  setTarget(compilation, target, options.products);
  if (failed(compileToLLVM(compilation, name)))
    return failure();

  ObjectEntry entry;
  entry.name = name.str();
  const Signature &signature = compilation.signature;
  entry.inputs = signature.inputs;
  entry.updated.assign(signature.inputs.size(), false);
  llvm::SmallBitVector written(signature.results.size());
  for (InPlaceArgument place : signature.inPlace) {
    entry.updated[place.argument] = true;
    written.set(place.result);
  }
  for (auto [i, type] : llvm::enumerate(signature.results))
    if (!written[i])
      entry.results.push_back(type);
  for (const ExternalConstant &constant : compilation.constants) {
    ShapedType type = constant.type;
    size_t bytes = type.getNumElements() *
                   llvm::divideCeil(type.getElementTypeBitWidth(), 8);
    entry.constants.push_back(weights.add({constant.data, bytes}));
  }
  for (const RuntimeCheck &check : compilation.checks)
    entry.checks.push_back(check.message);
  interface.arenaBytes =
      std::max<uint64_t>(interface.arenaBytes, compilation.arenaBytes);

  std::unique_ptr<llvm::Module> compiled =
      translateModuleToLLVMIR(*module, llvmContext, name);
  compilation.module = nullptr;
  if (!compiled)
    return fail() << "the code cannot be translated to LLVM IR";
  compiled->setTargetTriple(machine->getTargetTriple());
  compiled->setDataLayout(machine->createDataLayout());
  compiled->getFunction(name)->setName(compiledName(entry));
  // Entries have kernels of the same names.
  for (llvm::Function &function : *compiled)
    if (!function.isDeclaration() && function.getName() != compiledName(entry))
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
  if (llvm::Linker::linkModules(*code, std::move(compiled)))
    return fail() << "the code of '" << name << "' does not fit the others'";
  interface.entries.push_back(std::move(entry));
  return success();
}

LogicalResult ObjectWriter::writeFiles() {
  interface.weightsSize = weights.size();
  interface.weightsDigest = weights.digest();
  addInterface(*code, interface);
  SmallVector<char, 0> object;
  llvm::raw_svector_ostream objectStream(object);
  if (llvm::Error error = cpu::writeObject(*code, *machine, objectStream))
    return fail(std::move(error));
  auto write = [&](StringRef suffix, auto print) {
    return writeFile(path + suffix.str(), [&](llvm::raw_ostream &os) {
      print(os);
      return llvm::Error::success();
    });
  };
  llvm::Error error =
      write(".weights", [&](llvm::raw_ostream &os) { weights.write(os); });
  if (!error)
    error = write(".o", [&](llvm::raw_ostream &os) {
      os << StringRef(object.data(), object.size());
    });
  if (!error)
    error = write(".h",
                  [&](llvm::raw_ostream &os) { os << headerText(interface); });
  return error ? fail(std::move(error)) : success();
}

LogicalResult ObjectWriter::run() {
  interface.arenaBytes = 0;
  interface.usesMatrices = false;
  if (std::string rule = cpu::verify(options.products); !rule.empty())
    return fail() << rule;
  if (failed(findEntries()) || failed(startModule()))
    return failure();
  for (const std::string &name : entries)
    if (failed(addEntry(name)))
      return failure();
  return writeFiles();
}

LogicalResult quantopt::writeObjectFiles(ModuleOp module, StringRef path,
                                         const ObjectOptions &options) {
  loadExecutionDialects(module.getContext());
  return ObjectWriter(module, path, options).run();
}
