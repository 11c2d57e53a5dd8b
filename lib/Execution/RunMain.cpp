//===- RunMain.cpp - The quant-run tool as a function ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/RunMain.h"

#include "ArrayIO.h"
#include "RunGenerate.h"

#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Execution/Perplexity.h"
#include "quantopt/Formats/Npy.h"
#include "quantopt/Runtime/OpenMPRegistration.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

#include <chrono>
#include <cmath>
#include <omp.h>
#include <random>
#include <sys/resource.h>

using namespace mlir;
using namespace quantopt;
using execution::makeUp;
using execution::printArray;
namespace cl = llvm::cl;

namespace {

struct Options {
  cl::OptionCategory category{"quant-run"};
  cl::opt<std::string> model{cl::Positional, cl::Required,
                             cl::desc("<model.mlirbc or .mlir>"),
                             cl::cat(category)};
  cl::opt<std::string> entry{"entry", cl::init("main"),
                             cl::desc("function to run"), cl::cat(category)};
  cl::opt<std::string> target{
      "target", cl::init("host"),
      cl::desc("where to run: host, cuda (the first GPU), or emulator (a GPU's "
               "kernels, slowly, on this host)"),
      cl::cat(category)};
  cl::opt<std::string> chip{
      "chip", cl::init("sm_80"),
      cl::desc("GPU that --target=emulator stands for (sm_80)"),
      cl::value_desc("sm_XY"), cl::cat(category)};
  cl::opt<cpu::Compute> compute{
      "compute", cl::init(cpu::Compute::F32),
      cl::desc("what quantized linears multiply in on the host"),
      cl::values(clEnumValN(cpu::Compute::F32, "f32", "exactly"),
                 clEnumValN(cpu::Compute::BF16, "bf16",
                            "activations rounded; f32 where there is no "
                            "AVX512-BF16"),
                 clEnumValN(cpu::Compute::I8, "i8",
                            "activations quantized for each row and group")),
      cl::cat(category)};
  cl::opt<int64_t> inputGroup{
      "input-group", cl::init(32),
      cl::desc("with --compute=i8: activations that share a scale, a multiple "
               "of 32; fewer if groups of the weight are shorter (32)"),
      cl::cat(category)};
  cl::list<std::string> inputs{
      "input", cl::desc(".npy file of an input; once for each, in order"),
      cl::cat(category)};
  cl::opt<int64_t> randomInput{
      "random-input", cl::init(-1),
      cl::desc("make up all inputs: normal floats, small integers from 0"),
      cl::value_desc("seed"), cl::cat(category)};
  cl::list<std::string> outputs{
      "output", cl::desc(".npy file for a result; once for each, in order"),
      cl::cat(category)};
  cl::opt<std::string> outputDir{
      "output-dir", cl::desc("folder for result0.npy, result1.npy, ..."),
      cl::cat(category)};
  cl::opt<bool> print{"print", cl::desc("print results"), cl::cat(category)};
  cl::opt<std::string> perplexity{
      "perplexity", cl::desc("measure on the tokens of this .npy file"),
      cl::value_desc("tokens.npy"), cl::cat(category)};
  cl::opt<int64_t> windows{"windows", cl::init(-1),
                           cl::desc("use only the first windows"),
                           cl::cat(category)};
  cl::opt<std::string> against{
      "against", cl::desc("second model that the first is compared with"),
      cl::value_desc("model"), cl::cat(category)};
  cl::opt<std::string> generate{
      "generate",
      cl::desc("continue prompts: numbers separated by commas, prompts by "
               "semicolons, or an .npy file; prints a token a line"),
      cl::value_desc("tokens"), cl::cat(category)};
  cl::opt<int64_t> maxTokens{"max-tokens", cl::init(128),
                             cl::desc("new tokens of a prompt (128)"),
                             cl::cat(category)};
  cl::opt<double> temperature{
      "temperature", cl::init(0),
      cl::desc("tokens are drawn at this temperature; 0: the most likely one"),
      cl::cat(category)};
  cl::opt<int64_t> topK{
      "top-k", cl::init(0),
      cl::desc("draw from the so many most likely tokens (0: all)"),
      cl::cat(category)};
  cl::opt<double> topP{
      "top-p", cl::init(1),
      cl::desc("draw from the most likely tokens that together have this "
               "probability (1: all)"),
      cl::cat(category)};
  cl::opt<uint64_t> seed{"seed", cl::init(0),
                         cl::desc("of the draws: prompt i has seed + i"),
                         cl::cat(category)};
  cl::list<int64_t> stop{"stop", cl::CommaSeparated,
                         cl::desc("tokens that end a text"), cl::cat(category)};
  cl::opt<std::string> json{"json", cl::desc("write what was measured here"),
                            cl::value_desc("file"), cl::cat(category)};
  cl::opt<bool> time{"time", cl::desc("print times and memory"),
                     cl::cat(category)};
  cl::opt<unsigned> repeat{
      "repeat", cl::init(1),
      cl::desc("run or generate so often; times are of the fastest"),
      cl::cat(category)};
  cl::opt<int> threads{"threads", cl::init(0),
                       cl::desc("threads (0: as OMP_NUM_THREADS says)"),
                       cl::cat(category)};
  cl::opt<unsigned> optLevel{"O", cl::Prefix, cl::init(3),
                             cl::desc("optimization level, 0 to 3"),
                             cl::cat(category)};
  cl::opt<std::string> printAfter{
      "print-after",
      cl::desc("print the IR after this stage (linears, checks, "
               "constants, normalize, fuse, bufferize, outline, "
               "kernels, ptx, launches, llvm)"),
      cl::value_desc("stage"), cl::cat(category)};
};

double wallSeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval value) {
    return value.tv_sec + 1e-6 * value.tv_usec;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A module with the context that holds its resources: keys of two files may
/// be equal.
struct Program {
  /// Goes last: the compiled module has memory on it.
  std::shared_ptr<Device> device;
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::vector<std::unique_ptr<CompiledModule>> compiled; // by entry
  double compileSeconds = 0;
};

} // namespace

/// Says what is wrong without a place in the IR; returns the exit code.
static int fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "quant-run") << message << "\n";
  return EXIT_FAILURE;
}

static DialectRegistry makeRegistry() {
  DialectRegistry registry;
  registerExecutionDialects(registry);
  registry.insert<ml_program::MLProgramDialect>();
  return registry;
}

/// The device that --target names; null is this host, or an error.
static std::shared_ptr<Device> openDevice(const Options &options,
                                          std::string &error) {
  error.clear();
  if (options.target == "cuda")
    return openCudaDevice(error);
  if (options.target == "emulator")
    return openEmulatedDevice(options.chip, error);
  if (options.target != "host")
    error =
        "--target=" + options.target + ": there are host, cuda and emulator";
  return nullptr;
}

/// Reads the module at `path` and compiles `entries`, which share its weights.
static std::unique_ptr<Program> load(const Options &options, StringRef path,
                                     ArrayRef<StringRef> entries,
                                     std::shared_ptr<Device> device) {
  auto program = std::make_unique<Program>();
  program->context.appendDialectRegistry(makeRegistry());
  program->context.allowUnregisteredDialects();
  // Lives as long as the diagnostics may be printed.
  auto source = std::make_shared<llvm::SourceMgr>();
  std::string message;
  // Small bytecode, read into memory instead of mapped, needs it said.
  auto file = openInputFile(path, llvm::Align(4096), &message);
  if (!file) {
    fail(message);
    return nullptr;
  }
  source->AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(*source, &program->context);
  program->module = parseSourceFile<ModuleOp>(source, &program->context);
  if (!program->module)
    return nullptr;
  double begin = wallSeconds();
  CompileOptions compileOptions;
  compileOptions.optLevel = options.optLevel;
  compileOptions.products = {options.compute, options.inputGroup};
  compileOptions.device = device.get();
  program->device = device;
  if (!options.printAfter.empty())
    compileOptions.afterStage = [&](StringRef stage, ModuleOp module) {
      if (stage == options.printAfter)
        module.print(llvm::outs(), OpPrintingFlags().elideLargeElementsAttrs());
    };
  for (StringRef entry : entries) {
    if (!options.generate.empty() && !program->module->lookupSymbol(entry)) {
      fail(path + " has no function '" + entry +
           "' - import the model with --generate");
      return nullptr;
    }
    auto compiled =
        CompiledModule::compile(*program->module, entry, compileOptions);
    if (failed(compiled))
      return nullptr;
    program->compiled.push_back(std::move(*compiled));
  }
  program->compileSeconds = wallSeconds() - begin;
  return program;
}

/// Everything that was measured, for --time and --json.
static void addTimes(const Options &options, llvm::json::Object &report,
                     double compile, double wall, double cpu) {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double peak = usage.ru_maxrss / 1024.0;
  report["compile_seconds"] = compile;
  report["run_seconds"] = wall;
  report["run_cpu_seconds"] = cpu;
  report["peak_rss_mib"] = peak;
  report["threads"] = omp_get_max_threads();
  if (options.time)
    llvm::outs() << llvm::format("compile %.2f s, run %.6f s, %.6f CPU-s, peak "
                                 "%.0f MiB, %d threads\n",
                                 compile, wall, cpu, peak,
                                 omp_get_max_threads());
}

static int writeReport(const Options &options, llvm::json::Object report) {
  if (options.json.empty())
    return EXIT_SUCCESS;
  llvm::Error error =
      llvm::writeToOutput(options.json, [&](llvm::raw_ostream &os) {
        os << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(report)));
        return llvm::Error::success();
      });
  return error ? fail(llvm::toString(std::move(error))) : EXIT_SUCCESS;
}

static int runOnce(const Options &options, Program &program) {
  CompiledModule &compiled = *program.compiled[0];
  ArrayRef<RankedTensorType> types = compiled.inputTypes();
  std::vector<HostArray> inputs;
  if (options.randomInput >= 0) {
    std::mt19937 random(options.randomInput);
    for (RankedTensorType type : types) {
      if (!type.hasStaticShape())
        return fail("--random-input needs inputs of static shape");
      inputs.push_back(makeUp(type, random));
    }
  }
  for (const std::string &path : options.inputs) {
    llvm::Expected<HostArray> array = readNpy(path);
    if (!array)
      return fail(llvm::toString(array.takeError()));
    inputs.push_back(*array);
  }
  if (inputs.empty() && !types.empty()) {
    std::string needed;
    llvm::raw_string_ostream os(needed);
    llvm::interleaveComma(types, os);
    return fail("'" + options.entry + "' takes " + needed +
                "; give one --input=FILE.npy for each, or --random-input=SEED");
  }
  SmallVector<HostArray> results;
  double wall = 0, cpu = 0;
  for (unsigned i = 0; i < std::max(1u, options.repeat.getValue()); ++i) {
    double wallBegin = wallSeconds(), cpuBegin = cpuSeconds();
    if (failed(compiled.run(inputs, results)))
      return EXIT_FAILURE;
    double wallNow = wallSeconds() - wallBegin;
    if (i == 0 || wallNow < wall) {
      wall = wallNow;
      cpu = cpuSeconds() - cpuBegin;
    }
  }
  if (!options.outputs.empty() && options.outputs.size() != results.size())
    return fail("'" + options.entry + "' gives " + llvm::Twine(results.size()) +
                " results; give one --output for "
                "each, or --output-dir");
  for (auto [index, result] : llvm::enumerate(results)) {
    if (options.print)
      printArray(result, llvm::outs());
    std::string path;
    if (!options.outputs.empty()) {
      path = options.outputs[index];
    } else if (!options.outputDir.empty()) {
      if (std::error_code error =
              llvm::sys::fs::create_directories(options.outputDir))
        return fail(options.outputDir + ": " + error.message());
      llvm::SmallString<128> joined(options.outputDir);
      llvm::sys::path::append(joined, "result" + llvm::Twine(index) + ".npy");
      path = joined.str();
    }
    if (!path.empty())
      if (llvm::Error error = writeNpy(path, result))
        return fail(llvm::toString(std::move(error)));
  }
  llvm::json::Object report;
  addTimes(options, report, program.compileSeconds, wall, cpu);
  report["kernels"] = compiled.numKernels();
  report["kernel_calls"] = compiled.numKernelCalls();
  if (options.time)
    llvm::outs() << compiled.numKernels() << " kernels, "
                 << compiled.numKernelCalls() << " calls\n";
  return writeReport(options, std::move(report));
}

static int runPerplexity(const Options &options, Program &program) {
  llvm::Expected<HostArray> tokens = readNpy(options.perplexity);
  if (!tokens)
    return fail(llvm::toString(tokens.takeError()));
  std::unique_ptr<Program> other;
  if (!options.against.empty() &&
      !(other = load(options, options.against,
                     StringRef(options.entry.getValue()), program.device)))
    return EXIT_FAILURE;
  std::optional<int64_t> windows;
  if (options.windows >= 0)
    windows = options.windows;
  double wallBegin = wallSeconds(), cpuBegin = cpuSeconds();
  auto sums = measurePerplexity(
      *program.compiled[0], other ? other->compiled[0].get() : nullptr, *tokens,
      windows, UnknownLoc::get(&program.context));
  if (failed(sums))
    return EXIT_FAILURE;
  if (sums->predictions == 0)
    return fail("no window to measure");
  double wall = wallSeconds() - wallBegin, cpu = cpuSeconds() - cpuBegin;
  llvm::json::Object report{{"windows", sums->windows},
                            {"predictions", sums->predictions},
                            {"negative_log_likelihood", sums->meanLoss()},
                            {"perplexity", sums->perplexity()}};
  llvm::outs() << llvm::format("%lld windows, %lld predictions\n"
                               "negative log likelihood  %.6f\n"
                               "perplexity               %.4f\n",
                               (long long)sums->windows,
                               (long long)sums->predictions, sums->meanLoss(),
                               sums->perplexity());
  if (other) {
    double divergence = sums->divergence / sums->predictions;
    double sameTop = double(sums->sameTop) / sums->predictions;
    report["against_perplexity"] = sums->otherPerplexity();
    report["kl_divergence"] = divergence;
    report["same_top1"] = sameTop;
    llvm::outs() << llvm::format("perplexity of the other  %.4f\n"
                                 "KL divergence from it    %.6f\n"
                                 "same top token           %.4f\n",
                                 sums->otherPerplexity(), divergence, sameTop);
  }
  addTimes(options, report,
           program.compileSeconds + (other ? other->compileSeconds : 0), wall,
           cpu);
  return writeReport(options, std::move(report));
}

/// What is wrong with the options of --generate; empty if nothing is.
static std::string whyNotGenerate(const Options &options) {
  if (!options.perplexity.empty())
    return "--generate and --perplexity are two things: give one";
  if (options.maxTokens < 1)
    return "--max-tokens must be at least 1";
  if (!(options.temperature >= 0 && std::isfinite(options.temperature)))
    return "--temperature must be 0 or more";
  if (options.topK < 0)
    return "--top-k must be 0 or more";
  if (!(options.topP > 0 && options.topP <= 1))
    return "--top-p must be above 0 and at most 1";
  return "";
}

static int generateTexts(const Options &options, Program &program,
                         ArrayRef<std::vector<int64_t>> prompts) {
  GenerateOptions generate;
  generate.sampling = {options.temperature, options.topK, options.topP,
                       options.seed};
  generate.maxTokens = options.maxTokens;
  generate.stop.assign(options.stop.begin(), options.stop.end());
  double wallBegin = wallSeconds(), cpuBegin = cpuSeconds();
  FailureOr<llvm::json::Object> report = execution::runGenerate(
      *program.compiled[0], *program.compiled[1], prompts, generate,
      options.repeat, UnknownLoc::get(&program.context));
  if (failed(report))
    return EXIT_FAILURE;
  addTimes(options, *report, program.compileSeconds, wallSeconds() - wallBegin,
           cpuSeconds() - cpuBegin);
  return writeReport(options, std::move(*report));
}

int quantopt::quantRunMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  removeStaleOpenMPRegistration();
  // The shared library registers hundreds of options, `threads` among them.
  cl::ResetCommandLineParser();
  Options options;
  cl::HideUnrelatedOptions(options.category);
  cl::ParseCommandLineOptions(
      argc, argv, "quant-run: compile a model for this host and run it\n");
  if (!options.against.empty() && options.perplexity.empty())
    return fail("--against needs --perplexity");
  std::vector<std::vector<int64_t>> prompts;
  SmallVector<StringRef> entries = {StringRef(options.entry)};
  if (!options.generate.empty()) {
    std::string wrong = whyNotGenerate(options);
    if (!wrong.empty())
      return fail(wrong);
    auto read = execution::readPrompts(options.generate);
    if (!read)
      return fail(llvm::toString(read.takeError()));
    prompts = std::move(*read);
    entries = {"prefill", "decode"};
  }
  if (options.threads > 0)
    omp_set_num_threads(options.threads);
  std::string error;
  std::shared_ptr<Device> device = openDevice(options, error);
  if (!error.empty())
    return fail(error);
  std::unique_ptr<Program> program =
      load(options, options.model, entries, device);
  if (!program)
    return EXIT_FAILURE;
  // Failures of a run are diagnostics too, after the parser's handler is gone.
  ScopedDiagnosticHandler handler(
      &program->context, [](Diagnostic &diagnostic) {
        llvm::WithColor::error(llvm::errs(), "quant-run") << diagnostic << "\n";
      });
  if (!prompts.empty())
    return generateTexts(options, *program, prompts);
  return options.perplexity.empty() ? runOnce(options, *program)
                                    : runPerplexity(options, *program);
}
