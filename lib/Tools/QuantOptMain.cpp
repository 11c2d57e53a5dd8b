//===- QuantOptMain.cpp - The quant-opt tool as a function ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantOptMain.h"

#include "quantopt/Codegen/CPU/Passes.h"
#include "quantopt/Codegen/GPU/Passes.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/InitAll.h"
#include "quantopt/Runtime/OpenMPRegistration.h"

#include "mlir/IR/Dialect.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;

void quantopt::registerAllDialects(DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<lowbit::LowBitDialect>();
}

void quantopt::registerAllPasses() {
  lowbit::registerLowBitPasses();
  cpu::registerCodegenCPUPasses();
  kernels::registerCodegenGPUPasses();
}

/// Opens `path` so that bytecode in it can be read in place: that wants the
/// alignment of its blobs of the buffer as well. A mapped file has it; a small
/// one, which is read, must be asked for it, and standard input copied.
static std::unique_ptr<llvm::MemoryBuffer> openAligned(StringRef path,
                                                       std::string &message) {
  const llvm::Align alignment(4096);
  std::unique_ptr<llvm::MemoryBuffer> file =
      openInputFile(path, alignment, &message);
  if (!file || llvm::isAddrAligned(alignment, file->getBufferStart()))
    return file;
  auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(
      file->getBufferSize(), file->getBufferIdentifier(), alignment);
  if (!copy) {
    message = "not enough memory for the input";
    return nullptr;
  }
  llvm::copy(file->getBuffer(), copy->getBufferStart());
  return copy;
}

/// Our diagnostics name the layer. Many stand at the function or the module,
/// and the op shown below them would be the whole model.
static void hideOpsOfDiagnostics() {
  auto &options = llvm::cl::getRegisteredOptions();
  auto it = options.find("mlir-print-op-on-diagnostic");
  if (it != options.end())
    static_cast<llvm::cl::opt<bool> *>(it->second)->setInitialValue(false);
}

int quantopt::quantOptMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  quantopt::removeStaleOpenMPRegistration();
  DialectRegistry registry;
  quantopt::registerAllDialects(registry);
  mlir::registerAllPasses();
  quantopt::registerAllPasses();
  std::string help = registerCLIOptions(
      "quant-opt: quantize the linear layers of a model\n", registry);
  hideOpsOfDiagnostics();
  auto [input, output] = parseCLIOptions(argc, argv, help);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (config.shouldShowDialects() || config.shouldListPasses())
    return failed(MlirOptMain(argc, argv, input, output, registry));
  if (StringRef(output).ends_with(".mlirbc"))
    config.emitBytecode(true);

  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> file = openAligned(input, message);
  if (!file) {
    llvm::WithColor::error() << message << "\n";
    return EXIT_FAILURE;
  }
  // The temporary file is made before the passes run, so that an output that
  // cannot be written is known before hours of work, not after.
  llvm::Error error =
      llvm::writeToOutput(output, [&](raw_ostream &os) -> llvm::Error {
        if (failed(MlirOptMain(os, std::move(file), registry, config)))
          return llvm::createStringError("");
        return llvm::Error::success();
      });
  if (!error)
    return EXIT_SUCCESS;
  // Passes have said what is wrong; only file errors are still unsaid.
  message = llvm::toString(std::move(error));
  if (!message.empty())
    llvm::WithColor::error()
        << "cannot write '" << output << "': " << message << "\n";
  return EXIT_FAILURE;
}
