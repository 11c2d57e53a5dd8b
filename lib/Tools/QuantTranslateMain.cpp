//===- QuantTranslateMain.cpp - The quant-translate tool ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantTranslateMain.h"

#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Execution/ObjectFile.h"
#include "quantopt/Runtime/OpenMPRegistration.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;
using namespace quantopt;
namespace cl = llvm::cl;

namespace {
struct Options {
  cl::OptionCategory category{"quant-translate"};
  cl::opt<std::string> model{cl::Positional, cl::Required,
                             cl::desc("<model.mlirbc or .mlir>"),
                             cl::cat(category)};
  cl::opt<bool> toObject{"to-object", cl::cat(category),
                         cl::desc("write NAME.o, NAME.h and NAME.weights")};
  cl::opt<std::string> output{"o", cl::Required, cl::value_desc("NAME"),
                              cl::desc("what the files are called; the last "
                                       "part is what symbols begin with"),
                              cl::cat(category)};
  cl::list<std::string> entries{
      "entry", cl::CommaSeparated, cl::cat(category),
      cl::desc("functions to compile; all public ones if not given")};
  cl::opt<std::string> triple{
      "target-triple", cl::cat(category),
      cl::desc("e.g. aarch64-linux-gnu; this host if not given")};
  cl::opt<std::string> cpu{"mcpu", cl::cat(category),
                           cl::desc("processor of --target-triple")};
  cl::opt<std::string> features{"mattr", cl::cat(category),
                                cl::desc("what it has beyond that: +a,+b")};
  cl::opt<cpu::Compute> compute{
      "compute", cl::init(cpu::Compute::F32),
      cl::desc("what quantized linears multiply in"),
      cl::values(clEnumValN(cpu::Compute::F32, "f32", ""),
                 clEnumValN(cpu::Compute::BF16, "bf16", ""),
                 clEnumValN(cpu::Compute::I8, "i8", "")),
      cl::cat(category)};
  cl::opt<int64_t> inputGroup{
      "input-group", cl::init(32), cl::cat(category),
      cl::desc("with --compute=i8: activations that share a scale")};
};
} // namespace

static int fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "quant-translate") << message << "\n";
  return EXIT_FAILURE;
}

int quantopt::quantTranslateMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  removeStaleOpenMPRegistration();
  // The shared library registers hundreds of options.
  cl::ResetCommandLineParser();
  Options options;
  cl::HideUnrelatedOptions(options.category);
  cl::ParseCommandLineOptions(
      argc, argv, "quant-translate: a model as code for other programs\n");
  if (!options.toObject)
    return fail("give --to-object");
  if (options.triple.empty() &&
      !(options.cpu.empty() && options.features.empty()))
    return fail("--mcpu and --mattr need --target-triple");
  DialectRegistry registry;
  registerExecutionDialects(registry);
  registry.insert<ml_program::MLProgramDialect>();
  MLIRContext context(registry);
  context.allowUnregisteredDialects();
  auto source = std::make_shared<llvm::SourceMgr>();
  std::string message;
  // Small bytecode, read into memory instead of mapped, needs it said.
  auto file = openInputFile(options.model, llvm::Align(4096), &message);
  if (!file)
    return fail(message);
  source->AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(*source, &context);
  auto module = parseSourceFile<ModuleOp>(source, &context);
  if (!module)
    return EXIT_FAILURE;
  ObjectOptions object;
  object.entries = options.entries;
  object.triple = options.triple;
  object.cpu = options.cpu;
  object.features = options.features;
  object.products = {options.compute, options.inputGroup};
  return failed(writeObjectFiles(*module, options.output, object))
             ? EXIT_FAILURE
             : EXIT_SUCCESS;
}
