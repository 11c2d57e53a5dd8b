//===- QuantKernelsMain.cpp - The quant-kernels tool as a function --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantKernelsMain.h"

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Codegen/CPU/Lowering.h"
#include "quantopt/Codegen/CPU/Object.h"
#include "quantopt/Codegen/Common/LinearOperands.h"
#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Formats/Files.h"
#include "quantopt/Runtime/OpenMPRegistration.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
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
  cl::opt<std::string> isa{
      "isa",
      cl::desc("Make an object file for a CPU instead: host, amx (whose caller "
               "asks Linux for the registers), avx512, avxvnni, avx2, "
               "neon, generic")};
  cl::opt<std::string> triple{
      "triple", cl::desc("The CPU's system, as LLVM names it (this one)")};
  cl::opt<std::string> features{
      "features",
      cl::desc("With --triple: what the CPU has, as LLVM names it")};
  cl::opt<cpu::Compute> compute{
      "compute", cl::init(cpu::Compute::F32),
      cl::desc("What a CPU multiplies in"),
      cl::values(clEnumValN(cpu::Compute::F32, "f32", ""),
                 clEnumValN(cpu::Compute::BF16, "bf16", ""),
                 clEnumValN(cpu::Compute::I8, "i8", ""))};
  cl::opt<int64_t> inputGroup{
      "input-group", cl::init(32),
      cl::desc("With --compute=i8: columns that share a scale of x")};
  cl::opt<int64_t> m{"m", cl::Required, cl::desc("Rows of x")};
  cl::opt<int64_t> n{"n", cl::Required, cl::desc("Output channels")};
  cl::opt<int64_t> k{"k", cl::Required, cl::desc("Input channels")};
  cl::opt<FloatKind> type{"type", cl::init(FloatKind::F16),
                          cl::desc("Type of x and y, on a GPU of products too"),
                          cl::values(clEnumValN(FloatKind::F16, "f16", ""),
                                     clEnumValN(FloatKind::BF16, "bf16", ""),
                                     clEnumValN(FloatKind::F32, "f32", ""))};
  cl::opt<std::string> plan{"plan", cl::Required,
                            cl::desc("JSON file for the launches")};
  cl::opt<std::string> output{"o", cl::Required,
                              cl::desc("File for the PTX text, or the object")};
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

static llvm::Expected<Scheme> parseScheme(const Options &options,
                                          MLIRContext &context) {
  if (Attribute attr = parseAttribute(options.scheme, &context))
    if (std::optional<Scheme> scheme = codegen::schemeOf(attr))
      return *scheme;
  return llvm::createStringError("no scheme: " + options.scheme);
}

static llvm::Expected<LinearProblem> parseProblem(const Options &options,
                                                  MLIRContext &context) {
  LinearProblem problem;
  llvm::Expected<Scheme> scheme = parseScheme(options, context);
  if (!scheme)
    return scheme.takeError();
  problem.scheme = *scheme;
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

static llvm::Expected<cpu::LinearProblem>
parseCpuProblem(const Options &options, MLIRContext &context,
                const llvm::TargetMachine &machine) {
  llvm::Expected<Scheme> scheme = parseScheme(options, context);
  if (!scheme)
    return scheme.takeError();
  cpu::LinearProblem problem;
  problem.weights.push_back({*scheme, options.n});
  problem.m = options.m;
  problem.k = options.k;
  problem.x = problem.y = options.type;
  problem.target = cpu::targetOf(machine);
  if (options.isa != "host") {
    std::optional<cpu::Isa> isa = cpu::parseIsa(options.isa);
    if (!isa)
      return llvm::createStringError(
          "no instructions for these kernels: " + options.isa +
          " - give host, amx, avx512, avxvnni, avx2, neon or generic");
    problem.target.isa = *isa;
    problem.target.bf16 &= cpu::isAvx512(*isa);
  }
  problem.products = cpu::bestProducts({options.compute, options.inputGroup},
                                       problem.target, problem.m);
  if (std::string rule = verify(problem); !rule.empty())
    return llvm::createStringError(rule);
  return problem;
}

/// {"function": ..., "compute": ..., "isa": ..., "operands": [{"name": "x",
/// "bytes": ...}, ...]}: pointers, in the order of the function's arguments.
static void writeCpuPlan(llvm::raw_ostream &os, StringRef function,
                         FunctionType type, const cpu::LinearProblem &problem) {
  SmallVector<StringRef> names = {"x", "workspace", "codes", "scales"};
  if (problem.weights[0].scheme.zero != ZeroKind::Symmetric)
    names.push_back("offsets");
  names.push_back("y");
  llvm::json::OStream json(os, 2);
  json.object([&] {
    json.attribute("function", function);
    json.attribute("isa", cpu::isaName(problem.target.isa));
    json.attribute("compute", cpu::computeName(problem.products.compute));
    json.attributeArray("operands", [&] {
      for (auto [name, operand] : llvm::zip_equal(names, type.getInputs()))
        json.object([&] {
          auto buffer = cast<MemRefType>(operand);
          json.attribute("name", name);
          json.attribute("bytes", buffer.getNumElements() *
                                      llvm::divideCeil(
                                          buffer.getElementTypeBitWidth(), 8));
        });
    });
  });
  os << "\n";
}

/// An object with one C function, which takes pointers.
static llvm::Error runCpu(const Options &options) {
  DialectRegistry registry;
  cpu::registerLowering(registry);
  registry.insert<lowbit::LowBitDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto machine = cpu::createMachine(options.triple, "", options.features);
  if (!machine)
    return machine.takeError();
  auto problem = parseCpuProblem(options, context, **machine);
  if (!problem)
    return problem.takeError();
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  func::FuncOp function = emitLinear(*module, *problem);
  function.setPublic();
  std::string name = function.getName().str();
  FunctionType type = function.getFunctionType();
  if (failed(cpu::lowerToLLVM(*module, /*barePointers=*/true)))
    return llvm::createStringError("the kernels cannot be lowered");
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  if (llvm::Error error = cpu::writeObject(*module, **machine, stream))
    return error;
  if (llvm::Error error =
          writeFile(options.output, [&](llvm::raw_ostream &os) -> llvm::Error {
            os << stream.str();
            return llvm::Error::success();
          }))
    return error;
  return writeFile(options.plan, [&](llvm::raw_ostream &os) -> llvm::Error {
    writeCpuPlan(os, name, type, *problem);
    return llvm::Error::success();
  });
}

static llvm::Error run(const Options &options) {
  if (!options.isa.empty())
    return runCpu(options);
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
  removeStaleOpenMPRegistration();
  Options options;
  cl::ParseCommandLineOptions(
      argc, argv, "quant-kernels: the kernels of one linear layer\n");
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
