//===- Calibrate.cpp - Run a module and stop at its linears ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Calibration/Calibrate.h"

#include "Rendezvous.h"
#include "Residual.h"

#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Execution/HostCalls.h"
#include "quantopt/Runtime/Pages.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringSet.h"

#include <cstring>
#include <omp.h>
#include <thread>

using namespace mlir;

namespace quantopt {

CalibrationClient::~CalibrationClient() = default;

void CalibrationClient::multiply(unsigned, MatrixRef, MutableMatrixRef) {
  llvm_unreachable("a client that changes weights multiplies with them");
}

bool isReshape(Operation *op) {
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

Value skipReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isReshape(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

namespace {
/// A copy of the module in which the observed linears call the host.
struct ObservedModule {
  OwningOpRef<ModuleOp> module;
  /// Linears that read one input, and which of these groups each belongs to.
  SmallVector<SmallVector<unsigned>> groups;
  SmallVector<unsigned> groupOf;
};
} // namespace

/// Makes `entry` return nothing and erases what then is unused.
static void keepOnlyObserved(func::FuncOp entry) {
  IRRewriter rewriter(entry.getContext());
  entry.walk([&](func::ReturnOp op) { op.getOperandsMutable().clear(); });
  entry.setFunctionType(
      FunctionType::get(entry.getContext(), entry.getArgumentTypes(), {}));
  entry.setAllResultAttrs(ArrayRef<Attribute>{});
  (void)runRegionDCE(rewriter, entry->getRegions());
}

/// Copies the module for observation; `withResiduals` shows what the results
/// of linears are added to.
static ObservedModule observeLinears(ModuleOp module, StringRef entry,
                                     ArrayRef<lowbit::LinearOp> linears,
                                     bool withResiduals) {
  ObservedModule observed;
  IRMapping mapping;
  observed.module = cast<ModuleOp>(module->clone(mapping));
  auto function = observed.module->lookupSymbol<func::FuncOp>(entry);
  SmallVector<lowbit::LinearOp> clones;
  for (lowbit::LinearOp linear : linears)
    clones.push_back(
        cast<lowbit::LinearOp>(mapping.lookup(linear.getOperation())));
  DominanceInfo before(function);
  SmallVector<Operation *> calls;
  for (auto [i, clone] : llvm::enumerate(clones)) {
    Value residual = withResiduals && !clone.isRouted()
                         ? findResidual(clone, before)
                         : Value();
    calls.push_back(callHost(clone, i, /*observed=*/true));
    if (residual)
      cast<lowbit::HostLinearOp>(calls.back())
          .getResidualMutable()
          .assign(residual);
  }
  keepOnlyObserved(function);
  // Importers reshape one value once per linear; merged, they show that the
  // linears read the same input. Calls are never merged: they are observed.
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance;
  eliminateCommonSubExpressions(rewriter, dominance, function);
  // Experts of one number that go by one routing do so too.
  using Input = std::tuple<Value, Value, int64_t>;
  DenseMap<Input, unsigned> groupOfInput;
  for (auto [i, call] : llvm::enumerate(calls)) {
    Input input = {skipReshapes(call->getOperand(0)), Value(), 0};
    if (auto experts = dyn_cast<lowbit::HostExpertsOp>(call)) {
      auto at = llvm::find(experts.getIds(), static_cast<int64_t>(i));
      std::get<1>(input) = skipReshapes(experts.getRouting());
      std::get<2>(input) = experts.getExperts()[at - experts.getIds().begin()];
    }
    auto [it, isNew] = groupOfInput.try_emplace(input, observed.groups.size());
    if (isNew)
      observed.groups.emplace_back();
    observed.groups[it->second].push_back(i);
    observed.groupOf.push_back(it->second);
  }
  // The others of a group are met when it has been served already.
  for (auto [i, call] : llvm::enumerate(calls))
    if (auto linear = dyn_cast<lowbit::HostLinearOp>(call);
        linear && observed.groups[observed.groupOf[i]].size() > 1)
      linear.getResidualMutable().clear();
  return observed;
}

/// The inputs of `sample` for an entry of `types`.
static SmallVector<HostArray> inputsOf(const CalibrationSamples &samples,
                                       unsigned sample,
                                       ArrayRef<RankedTensorType> types) {
  SmallVector<HostArray> inputs;
  for (auto [i, type] : llvm::enumerate(types)) {
    HostArray input;
    input.dtype = samples.arguments[i].dtype;
    input.shape = type.getShape().vec();
    input.data = samples.data(sample, i);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

namespace {
/// What a thread brings to a group.
struct Standing {
  MatrixRef input, residual;
  std::span<const int64_t> rows; // of an expert

  /// Whether `other` brings the same rows, in another state of the model.
  bool matches(const Standing &other) const {
    return input.rows == other.input.rows &&
           std::equal(rows.begin(), rows.end(), other.rows.begin(),
                      other.rows.end());
  }
};

/// Runs the samples and serves the groups. Thread i runs sample i; with a float
/// stream thread count + i follows it with float weights.
class Calibration {
public:
  Calibration(const ObservedModule &observed, CompiledModule &compiled,
              CompiledModule &compiledFloats, const CalibrationSamples &samples,
              unsigned threads, CalibrationClient &client)
      : observed(observed), compiled(compiled), compiledFloats(compiledFloats),
        samples(samples), client(client),
        followers(client.wantsFloatStream() ? samples.count : 0),
        rendezvous(observed.groups.size(), samples.count, followers, threads),
        standing(numThreads()) {}

  unsigned numThreads() const { return samples.count + followers; }
  /// Body of thread `thread`.
  void runSample(unsigned thread);
  /// Serves until all samples have run; whether all went well.
  bool conduct();
  /// Whether a failure has stopped it.
  bool stopped() { return rendezvous.stopped(); }

private:
  class Handler;

  bool isFloat(unsigned thread) const { return thread >= samples.count; }
  CompiledModule &compiledOf(unsigned thread) {
    return isFloat(thread) ? compiledFloats : compiled;
  }
  unsigned sampleOf(unsigned thread) const { return thread % samples.count; }
  /// While a thread waits, what its sample gave the graph need not be resident.
  void releaseArguments(unsigned thread) const;
  bool serve(unsigned group, ArrayRef<unsigned> present);

  const ObservedModule &observed;
  CompiledModule &compiled, &compiledFloats; // may be one
  const CalibrationSamples &samples;
  CalibrationClient &client;
  unsigned followers;
  Rendezvous rendezvous;
  std::vector<Standing> standing; // by thread
  std::atomic<bool> ranAll = true;
};

/// Takes the calls of one thread's compiled code.
class Calibration::Handler : public LinearHandler {
public:
  Handler(Calibration &calibration, unsigned thread)
      : calibration(calibration), thread(thread) {}

  std::string run(const LinearCall &call) override {
    ArrayRef<unsigned> groupOf = calibration.observed.groupOf;
    // Linears that nobody observes keep their float weights.
    bool isObserved = call.id < static_cast<int64_t>(groupOf.size());
    if (isObserved) {
      calibration.standing[thread] = {call.x, call.residual, call.rows};
      calibration.releaseArguments(thread);
      if (!calibration.rendezvous.meet(groupOf[call.id], thread))
        return "calibration was stopped";
    }
    if (!isObserved || calibration.isFloat(thread) ||
        calibration.client.keepsWeights())
      return calibration.compiledOf(thread).ownWeights().run(call);
    calibration.client.multiply(call.id, call.x, call.y);
    return "";
  }

private:
  Calibration &calibration;
  unsigned thread;
};
} // namespace

void Calibration::runSample(unsigned thread) {
  // The samples are the parallelism; inside one there is none.
  omp_set_num_threads(1);
  Handler handler(*this, thread);
  rendezvous.participate(thread, [&] {
    SmallVector<HostArray> results;
    CompiledModule &own = compiledOf(thread);
    if (failed(own.run(inputsOf(samples, sampleOf(thread), own.inputTypes()),
                       results, &handler)))
      ranAll = false;
  });
}

void Calibration::releaseArguments(unsigned thread) const {
  for (auto [i, array] : llvm::enumerate(samples.arguments))
    releasePages(samples.data(sampleOf(thread), i),
                 array.sizeInBytes() / samples.count);
}

bool Calibration::conduct() {
  return rendezvous.conduct([&](unsigned point,
                                const std::vector<unsigned> &present) {
    return serve(point, present);
  }) && ranAll;
}

/// The input of the float model in the rows that `quantized` brings to an
/// expert. A row that the float model sends elsewhere, or all of them without
/// `floats`, is taken to be as in the quantized model: nothing is known of how
/// far it has drifted, so nothing is made up for.
static std::vector<char> alignRows(const Standing &quantized,
                                   const Standing *floats) {
  const MatrixRef &input = quantized.input;
  int64_t width = input.cols * byteWidth(input.kind);
  const char *data = static_cast<const char *>(input.data);
  std::vector<char> aligned(data, data + input.rows * width);
  if (!floats)
    return aligned;
  data = static_cast<const char *>(floats->input.data);
  for (auto [at, row] : llvm::enumerate(floats->rows)) {
    auto same = llvm::lower_bound(quantized.rows, row);
    if (same != quantized.rows.end() && *same == row)
      std::memcpy(aligned.data() + (same - quantized.rows.begin()) * width,
                  data + at * width, width);
  }
  return aligned;
}

bool Calibration::serve(unsigned group, ArrayRef<unsigned> present) {
  // The float stream comes second in the list.
  size_t count =
      llvm::partition_point(present, [&](unsigned i) { return !isFloat(i); }) -
      present.begin();
  std::vector<MatrixRef> inputs, floats, residuals, floatResiduals;
  std::vector<std::vector<char>> copies; // alive until the group is served
  for (unsigned thread : present.take_front(count)) {
    const Standing &own = standing[thread];
    inputs.push_back(own.input);
    if (own.residual.data)
      residuals.push_back(own.residual);
    const Standing *other =
        llvm::is_contained(present.drop_front(count), thread + samples.count)
            ? &standing[thread + samples.count]
            : nullptr;
    if (other && own.matches(*other)) {
      floats.push_back(other->input);
      if (other->residual.data)
        floatResiduals.push_back(other->residual);
    } else if (followers && !own.rows.empty()) {
      copies.push_back(alignRows(own, other));
      floats.push_back(own.input);
      floats.back().data = copies.back().data();
    }
  }
  GroupInputs brought = {inputs, {}, {}, {}};
  if (floats.size() == count) {
    brought.floatInputs = floats;
    if (floatResiduals.size() == count) {
      brought.residuals = residuals;
      brought.floatResiduals = floatResiduals;
    }
  }
  return succeeded(client.observe(observed.groups[group], brought));
}

/// Lets `compiled` multiply with the weights of `linears`, as calls number
/// them.
static LogicalResult addOwnWeights(CompiledModule &compiled,
                                   ArrayRef<lowbit::LinearOp> linears) {
  for (auto [i, linear] : llvm::enumerate(linears))
    if (failed(compiled.addOwnWeight(i, linear)))
      return failure();
  return success();
}

LogicalResult calibrate(ModuleOp module, StringRef entry,
                        ArrayRef<lowbit::LinearOp> linears,
                        const CalibrationSamples &samples, unsigned threads,
                        CalibrationClient &client,
                        const std::optional<FloatModel> &floats) {
  bool paired = client.wantsFloatStream();
  ObservedModule observed = observeLinears(module, entry, linears, paired);
  FailureOr<std::unique_ptr<CompiledModule>> compiled =
      CompiledModule::compile(*observed.module, entry);
  if (failed(compiled))
    return failure();
  if (((paired && !floats) || client.keepsWeights()) &&
      failed(addOwnWeights(**compiled, linears)))
    return failure();
  // The copy is alive as long as what is compiled of it.
  ObservedModule observedFloats;
  std::unique_ptr<CompiledModule> compiledFloats;
  if (paired && floats) {
    observedFloats =
        observeLinears(floats->module, entry, floats->linears, paired);
    auto result = CompiledModule::compile(*observedFloats.module, entry);
    if (failed(result) || failed(addOwnWeights(**result, floats->linears)))
      return failure();
    compiledFloats = std::move(*result);
  }

  Calibration calibration(observed, **compiled,
                          compiledFloats ? *compiledFloats : **compiled,
                          samples, threads, client);
  // What the samples report is said once, not by each; and once the run is
  // stopped the client has said why, and all that they report follows from it.
  llvm::StringSet<> said;
  std::mutex saidMutex;
  ScopedDiagnosticHandler once(module.getContext(), [&](Diagnostic &diag) {
    std::lock_guard<std::mutex> lock(saidMutex);
    return success(calibration.stopped() || !said.insert(diag.str()).second);
  });
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < calibration.numThreads(); ++i)
    workers.emplace_back([&, i] { calibration.runSample(i); });

  int threadsBefore = omp_get_max_threads();
  omp_set_num_threads(threads);
  bool conducted = calibration.conduct();
  omp_set_num_threads(threadsBefore);
  for (std::thread &worker : workers)
    worker.join();
  return success(conducted);
}

} // namespace quantopt
