//===- CompiledModule.cpp - A module compiled for this host ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArrayIO.h"
#include "Device/DeviceProgram.h"
#include "Device/DeviceStages.h"
#include "RuntimeCalls.h"
#include "Stages.h"

#include "quantopt/Runtime/BufferPool.h"
#include "quantopt/Runtime/MatrixRegisters.h"

#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

struct CompiledModule::State {
  Compilation compilation;
  Location location;
  std::string entryName;
  SmallVector<RankedTensorType> inputs, results;
  SmallVector<InPlaceArgument> inPlace;
  std::unique_ptr<ExecutionEngine> engine;
  void (*function)(void **) = nullptr;
  std::unique_ptr<DeviceProgram> program; // null: this host

  explicit State(Location location) : location(location) {}
};

CompiledModule::CompiledModule(std::unique_ptr<State> state)
    : state(std::move(state)) {}
CompiledModule::~CompiledModule() = default;

ArrayRef<RankedTensorType> CompiledModule::inputTypes() const {
  return state->inputs;
}
ArrayRef<RankedTensorType> CompiledModule::resultTypes() const {
  return state->results;
}
ArrayRef<InPlaceArgument> CompiledModule::inPlaceArguments() const {
  return state->inPlace;
}
LinearHandler &CompiledModule::ownWeights() {
  return state->compilation.weights;
}
LogicalResult CompiledModule::addOwnWeight(int64_t id,
                                           lowbit::LinearOp linear) {
  return addFloatWeight(state->compilation, id, linear);
}
unsigned CompiledModule::numKernels() const {
  return state->compilation.numKernels;
}
unsigned CompiledModule::numKernelCalls() const {
  return state->compilation.numKernelCalls;
}

/// LLVM IR, optimised for this processor, in memory.
static LogicalResult generateCode(CompiledModule::State &state, ModuleOp module,
                                  unsigned optLevel) {
  static bool initialized = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;
  auto fail = [&](llvm::Error error) {
    return emitError(state.location, "cannot be compiled for this host: ")
           << llvm::toString(std::move(error));
  };
  auto builder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return fail(builder.takeError());
  auto level = llvm::CodeGenOpt::getLevel(std::min(optLevel, 3u));
  builder->setCodeGenOptLevel(*level);
  auto machine = builder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());
  auto optimizer = makeOptimizingTransformer(optLevel, 0, machine->get());
  ExecutionEngineOptions options;
  options.transformer = optimizer; // a reference: `optimizer` outlives it
  options.jitCodeGenOptLevel = *level;
  options.enableGDBNotificationListener = false;
  options.enablePerfNotificationListener = false;
  auto engine = ExecutionEngine::create(module, options, std::move(*machine));
  if (!engine)
    return fail(engine.takeError());
  state.engine = std::move(*engine);
  bool onDevice = state.compilation.onDevice();
  state.engine->registerSymbols([&](llvm::orc::MangleAndInterner mangle) {
    llvm::orc::SymbolMap map;
    auto add = [&](ArrayRef<std::pair<StringRef, void *>> symbols) {
      for (auto [name, address] : symbols)
        map[mangle(name)] = {llvm::orc::ExecutorAddr::fromPtr(address),
                             llvm::JITSymbolFlags::Exported};
    };
    add(runtimeSymbols());
    if (onDevice) // which has functions of the same names
      add(DeviceProgram::symbols());
    return map;
  });
  auto function = state.engine->lookupPacked(
      state.compilation.barePointers ? state.entryName
                                     : "_mlir_ciface_" + state.entryName);
  if (!function)
    return fail(function.takeError());
  state.function = *function;
  return success();
}

/// What this processor can do.
static cpu::Target hostTarget() {
  auto builder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!builder) {
    llvm::consumeError(builder.takeError());
    return {};
  }
  cpu::Target target = cpu::targetOf(builder->getFeatures().getString());
  if (target.isa == cpu::Isa::Amx && !allowMatrixRegisters())
    target.isa = cpu::Isa::Avx512;
  return target;
}

FailureOr<std::unique_ptr<CompiledModule>>
CompiledModule::compile(ModuleOp original, StringRef entry,
                        const CompileOptions &options) {
  loadExecutionDialects(original.getContext());
  OwningOpRef<ModuleOp> module = original.clone();
  auto state = std::make_unique<State>(original.getLoc());
  Compilation &compilation = state->compilation;
  compilation.module = *module;
  if (options.device) {
    std::string chip = options.device->chip();
    compilation.chip = kernels::parseChip(chip);
    if (!compilation.chip)
      return emitError(original.getLoc(), "cannot be run on ")
             << options.device->name() << ": code for '" << chip
             << "' is not supported; sm_80 and later are";
  }
  if (std::string rule = cpu::verify(options.products); !rule.empty())
    return emitError(original.getLoc(), "cannot be run on the host: ") << rule;
  setTarget(compilation, options.target.value_or(hostTarget()),
            options.products);
  state->entryName = entry.str();
  if (auto function = original.lookupSymbol<func::FuncOp>(entry))
    state->location = function.getLoc();
  if (failed(compileToLLVM(compilation, entry, options.afterStage)))
    return failure();
  state->inputs = compilation.signature.inputs;
  state->results = compilation.signature.results;
  state->inPlace = compilation.signature.inPlace;
  if (failed(generateCode(*state, *module, options.optLevel)))
    return failure();
  compilation.module = nullptr;
  if (options.device) {
    state->program = std::make_unique<DeviceProgram>(*options.device);
    std::string error = state->program->load(compilation, state->inputs);
    if (!error.empty())
      return emitError(state->location, "cannot be run on ")
             << options.device->name() << ": " << error;
  }
  return std::unique_ptr<CompiledModule>(new CompiledModule(std::move(state)));
}

/// Appends a memref descriptor: allocated, aligned, offset, sizes, strides.
static void appendDescriptor(SmallVectorImpl<int64_t> &words, const void *data,
                             ArrayRef<int64_t> shape) {
  words.push_back(reinterpret_cast<int64_t>(data));
  words.push_back(reinterpret_cast<int64_t>(data));
  words.push_back(0);
  words.append(shape.begin(), shape.end());
  size_t strides = words.size();
  words.append(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    words[strides + i - 1] = words[strides + i] * shape[i];
}

static std::string shapeText(DType dtype, ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(shape, os, "x");
  os << (shape.empty() ? "" : " ") << dtypeName(dtype);
  return text;
}

/// A failure of the graph itself.
static LogicalResult reportFailedCheck(CompiledModule::State &s, int64_t id) {
  const RuntimeCheck &check = s.compilation.checks[id];
  return emitError(check.location, "run of '")
         << s.entryName << "' failed: " << check.message;
}

static LogicalResult runOnDevice(CompiledModule::State &s,
                                 ArrayRef<HostArray> inputs,
                                 SmallVectorImpl<HostArray> &results) {
  SmallVector<DeviceProgram::Destination> destinations;
  for (RankedTensorType type : s.results) {
    std::byte *data = nullptr;
    HostArray array = HostArray::allocate(*dtypeOf(type.getElementType()),
                                          type.getShape().vec(), data);
    if (!data)
      return emitError(s.location, "no memory for a result");
    destinations.push_back({data, array.sizeInBytes()});
    results.push_back(std::move(array));
  }
  // Of checks that the entry itself makes.
  RunState run{nullptr, {}, {}, {}};
  RunState *outer = std::exchange(currentRun, &run);
  std::optional<int64_t> failedCheck;
  std::string error =
      s.program->run(s.function, inputs, destinations, failedCheck);
  currentRun = outer;
  if (!run.failedChecks.empty())
    failedCheck = run.failedChecks[0];
  if (error.empty() && !failedCheck)
    return success();
  results.clear();
  if (!error.empty())
    return emitError(s.location, "run of '")
           << s.entryName << "' failed: " << error;
  return reportFailedCheck(s, *failedCheck);
}

/// A result that compiled code has stored: a pointer, or a descriptor.
static HostArray takeResult(RankedTensorType type, bool bare,
                            const int64_t *word) {
  HostArray array;
  array.dtype = *dtypeOf(type.getElementType());
  const int64_t *shape = bare ? type.getShape().data() : word + 3;
  array.shape.assign(shape, shape + type.getRank());
  array.data = reinterpret_cast<const std::byte *>(word[bare ? 0 : 1]);
  array.owner = std::shared_ptr<const void>(
      reinterpret_cast<void *>(word[0]),
      [](const void *block) { poolFree(const_cast<void *>(block)); });
  return array;
}

static LogicalResult runOnHost(CompiledModule::State &s,
                               ArrayRef<HostArray> inputs,
                               SmallVectorImpl<HostArray> &results,
                               LinearHandler *handler) {
  // Pointers are the arguments: to the data, or to descriptors of it. The
  // packed interface takes pointers to the arguments.
  bool bare = s.compilation.barePointers;
  size_t resultWords = 0;
  SmallVector<const HostArray *> updated(s.results.size());
  for (InPlaceArgument place : s.inPlace)
    updated[place.result] = &inputs[place.argument];
  for (auto [type, input] : llvm::zip_equal(s.results, updated))
    if (!input)
      resultWords += bare ? 1 : 3 + 2 * type.getRank();
  SmallVector<int64_t> resultStorage(resultWords, 0);
  SmallVector<SmallVector<int64_t>, 0> descriptors;
  SmallVector<const void *> pointers;
  size_t numArguments = inputs.size() + s.compilation.constants.size();
  pointers.reserve(numArguments + 1);
  descriptors.reserve(bare ? 0 : numArguments);
  if (!bare && resultWords)
    pointers.push_back(resultStorage.data());
  auto addArgument = [&](const void *data, ArrayRef<int64_t> shape) {
    if (!bare) {
      appendDescriptor(descriptors.emplace_back(), data, shape);
      data = descriptors.back().data();
    }
    pointers.push_back(data);
  };
  for (const HostArray &input : inputs)
    addArgument(input.data, input.shape);
  for (const ExternalConstant &constant : s.compilation.constants)
    addArgument(constant.data, constant.type.getShape());
  SmallVector<void *> packed;
  packed.reserve(pointers.size() + 1);
  for (const void *&pointer : pointers)
    packed.push_back(&pointer);
  if (bare && resultWords)
    packed.push_back(resultStorage.data());

  RunState run{handler ? handler : &s.compilation.weights,
               s.compilation.expertCalls,
               {},
               {}};
  RunState *outer = std::exchange(currentRun, &run);
  s.function(packed.data());
  currentRun = outer;

  const int64_t *word = resultStorage.data();
  for (auto [type, input] : llvm::zip_equal(s.results, updated)) {
    results.push_back(input ? *input : takeResult(type, bare, word));
    if (!input)
      word += bare ? 1 : 3 + 2 * type.getRank();
  }
  if (run.linearError.empty() && run.failedChecks.empty())
    return success();
  results.clear();
  if (!run.linearError.empty())
    return emitError(s.location, "run of '")
           << s.entryName << "' failed: " << run.linearError;
  return reportFailedCheck(s, run.failedChecks[0]);
}

LogicalResult CompiledModule::runInPlace(ArrayRef<HostArray> inputs,
                                         SmallVectorImpl<HostArray> &results,
                                         LinearHandler *handler) {
  State &s = *state;
  results.clear();
  if (inputs.size() != s.inputs.size())
    return emitError(s.location, "'")
           << s.entryName << "' takes " << s.inputs.size() << " inputs, but "
           << inputs.size() << " were given";
  for (auto [index, input, type] : llvm::enumerate(inputs, s.inputs))
    if (!elementMatches(type.getElementType(), input.dtype) ||
        failed(verifyCompatibleShape(input.shape, type.getShape())))
      return emitError(s.location, "'")
             << s.entryName << "' takes " << type << " as input " << index
             << ", but " << shapeText(input.dtype, input.shape) << " was given";
  return s.program ? runOnDevice(s, inputs, results)
                   : runOnHost(s, inputs, results, handler);
}

LogicalResult CompiledModule::run(ArrayRef<HostArray> inputs,
                                  SmallVectorImpl<HostArray> &results,
                                  LinearHandler *handler) {
  // What would be written is copied; a device has copies of everything.
  SmallVector<HostArray> own(inputs);
  for (InPlaceArgument updated : state->compilation.inPlace) {
    if (updated.argument >= own.size())
      break; // said below
    HostArray &input = own[updated.argument];
    std::byte *data = nullptr;
    HostArray copy = HostArray::allocate(input.dtype, input.shape, data);
    if (!data)
      return emitError(state->location, "no memory for a copy of an input");
    std::copy_n(input.data, input.sizeInBytes(), data);
    input = std::move(copy);
  }
  return runInPlace(own, results, handler);
}
