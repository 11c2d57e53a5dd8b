//===- QuantKernelsMain.cpp - The quant-kernels tool as a function --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantKernelsMain.h"

#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Formats/Files.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/WithColor.h"

#include <set>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
namespace cl = llvm::cl;

namespace {
struct Options {
  cl::opt<std::string> scheme{
      "scheme", cl::Required,
      cl::desc("Scheme of the weight, as attributes spell it")};
  cl::opt<std::string> chip{"chip", cl::init("sm_80"),
                            cl::desc("sm_80, sm_89, sm_90a, sm_100a, sm_120")};
  cl::opt<int64_t> m{"m", cl::Required, cl::desc("Rows of x")};
  cl::opt<int64_t> n{"n", cl::Required, cl::desc("Output channels")};
  cl::opt<int64_t> k{"k", cl::Required, cl::desc("Input channels")};
  cl::opt<FloatKind> type{"type", cl::init(FloatKind::F16),
                          cl::desc("Type of x, y and products"),
                          cl::values(clEnumValN(FloatKind::F16, "f16", ""),
                                     clEnumValN(FloatKind::BF16, "bf16", ""))};
  cl::opt<std::string> plan{"plan", cl::Required,
                            cl::desc("JSON file for the launches")};
  cl::opt<std::string> output{"o", cl::Required,
                              cl::desc("File for the PTX text")};
};
} // namespace

static StringRef operandName(Operand operand) {
  switch (operand) {
  case Operand::Codes:
    return "codes";
  case Operand::Scales:
    return "scales";
  case Operand::Offsets:
    return "offsets";
  case Operand::X:
    return "x";
  case Operand::Y:
    return "y";
  case Operand::Arranged:
    return "arranged";
  case Operand::Dense:
    return "dense";
  case Operand::Partials:
    return "partials";
  case Operand::Arrivals:
    return "arrivals";
  case Operand::Routing:
    return "routing";
  case Operand::Experts:
    return "experts";
  case Operand::Groups:
    return "groups";
  }
  llvm_unreachable("all operands handled");
}

static llvm::Expected<LinearProblem> parseProblem(const Options &options,
                                                  MLIRContext &context) {
  LinearProblem problem;
  Attribute attr = parseAttribute(options.scheme, &context);
  if (!attr)
    return llvm::createStringError("no scheme: " + options.scheme);
  bool isScheme =
      llvm::TypeSwitch<Attribute, bool>(attr)
          .Case<lowbit::AffineAttr, lowbit::CodebookAttr>([&](auto scheme) {
            problem.scheme = scheme.getScheme();
            return true;
          })
          .Default(false);
  if (!isScheme)
    return llvm::createStringError("no scheme: " + options.scheme);
  std::optional<Chip> chip = parseChip(options.chip);
  if (!chip)
    return llvm::createStringError("no chip for these kernels: " +
                                   options.chip + " - give sm_80 or newer");
  problem.chip = *chip;
  problem.m = options.m;
  problem.n = options.n;
  problem.k = options.k;
  problem.x = problem.y = problem.compute = options.type;
  if (std::string rule = verify(problem); !rule.empty())
    return llvm::createStringError(rule);
  return problem;
}

/// {"chip": ..., "operands": {"codes": {"bytes": ...}, ...}, "launches": [...]}
static void writePlan(llvm::raw_ostream &os, MLIRContext &context,
                      const LinearProblem &problem, const LinearPlan &plan) {
  llvm::json::OStream json(os, 2);
  auto dim = [&](StringRef name, const Dim3 &size) {
    json.attributeArray(name, [&] {
      for (int64_t length : {size.x, size.y, size.z})
        json.value(length);
    });
  };
  json.object([&] {
    json.attribute("chip", problem.chip.name());
    json.attributeObject("operands", [&] {
      std::set<Operand> operands;
      for (const KernelLaunch &launch : plan)
        operands.insert(launch.operands.begin(), launch.operands.end());
      for (Operand operand : operands) {
        MemRefType type = operandType(&context, problem, operand);
        json.attribute(operandName(operand),
                       type.getNumElements() *
                           llvm::divideCeil(type.getElementTypeBitWidth(), 8));
      }
    });
    json.attributeArray("launches", [&] {
      for (const KernelLaunch &launch : plan)
        json.object([&] {
          json.attribute("kernel", launch.kernel);
          dim("grid", launch.grid);
          dim("block", launch.block);
          json.attribute("shared", launch.sharedBytes);
          json.attributeArray("operands", [&] {
            for (Operand operand : launch.operands)
              json.value(operandName(operand));
          });
        });
    });
  });
  os << "\n";
}

static llvm::Error run(const Options &options) {
  DialectRegistry registry;
  registerSerialization(registry);
  registry.insert<lowbit::LowBitDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  llvm::Expected<LinearProblem> problem = parseProblem(options, context);
  if (!problem)
    return problem.takeError();
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> top = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToStart(top->getBody());
  auto module = mlir::gpu::GPUModuleOp::create(
      builder, builder.getUnknownLoc(), "kernels",
      ArrayRef<Attribute>{targetAttr(&context, problem->chip)});
  LinearPlan plan = emitLinear(module, *problem);
  FailureOr<std::string> ptx = failure();
  if (succeeded(lowerToNvvm(module)))
    ptx = toPtx(module);
  if (failed(ptx))
    return llvm::createStringError("the kernels cannot be lowered to PTX");
  if (llvm::Error error =
          writeFile(options.output, [&](llvm::raw_ostream &os) -> llvm::Error {
            os << *ptx;
            return llvm::Error::success();
          }))
    return error;
  return writeFile(options.plan, [&](llvm::raw_ostream &os) -> llvm::Error {
    writePlan(os, context, *problem, plan);
    return llvm::Error::success();
  });
}

int quantopt::quantKernelsMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  Options options;
  cl::ParseCommandLineOptions(
      argc, argv, "quant-kernels: the GPU kernels of one linear layer\n");
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  if (llvm::Error error = run(options)) {
    llvm::WithColor::error()
        << "quant-kernels: " << llvm::toString(std::move(error)) << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
