//===- QuantizeModule.cpp - The run of a quantizer ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeModule.h"

#include "AwqScaling.h"
#include "DryRun.h"
#include "QuantizeClient.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/IR/IRMapping.h"

#include <thread>

using namespace mlir;

namespace quantopt::lowbit {

FailureOr<std::optional<CalibrationSamples>>
findSamples(func::FuncOp entry, const QuantizeOptions &options) {
  using Result = FailureOr<std::optional<CalibrationSamples>>;
  if (options.calibration == "none")
    return Result(std::nullopt);
  Result found;
  if (options.calibration.empty()) {
    found = attachedSamples(entry);
  } else {
    FailureOr<CalibrationSamples> read =
        readSamples(options.calibration, entry);
    found = failed(read) ? Result(failure()) : Result(std::move(*read));
  }
  if (failed(found))
    return failure();
  if (!*found && options.dataOptional)
    return found;
  if (!*found)
    return entry.emitError("no calibration data: give calibration=FILE (.npy, "
                           ".npz or .safetensors with the inputs of the entry "
                           "function), attach it to the module with "
                           "--lowbit-attach-data, or ask for calibration=none");
  if (options.samples > 0 && options.samples < (*found)->count)
    (*found)->truncate(options.samples);
  return found;
}

/// Lets go of the pages of all constants: MlirOptMain scans the whole input
/// file once, and calibration reads each weight again when its turn comes.
static void releaseConstants(ModuleOp module) { module.walk(releaseConstant); }

unsigned numThreads(const QuantizeOptions &options) {
  return options.threads ? options.threads
                         : std::max(1u, std::thread::hardware_concurrency());
}

namespace {
/// The module with its tables in floats, for a stream that wants it so.
class FloatTables {
public:
  FloatTables(ModuleOp module, QuantizationRun &run) {
    SmallVector<LinearOp> own = linearsOf(run.plan());
    if (own.size() == run.plan().layers.size() ||
        !QuantizeClient(run).wantsFloatStream())
      return;
    IRMapping mapping;
    copy = cast<ModuleOp>(module->clone(mapping));
    for (LinearOp linear : own)
      linears.push_back(cast<LinearOp>(mapping.lookup(linear.getOperation())));
  }

  /// Nothing if the module has no tables to quantize.
  std::optional<FloatModel> get() {
    return copy ? std::optional<FloatModel>({*copy, linears}) : std::nullopt;
  }

private:
  OwningOpRef<ModuleOp> copy;
  SmallVector<LinearOp> linears;
};
} // namespace

static LogicalResult quantizeOn(const CalibrationSamples &samples,
                                QuantizationRun &run, ModuleOp module,
                                FloatTables &floats) {
  run.report().samples = samples.count;
  QuantizeClient client(run);
  return calibrate(module, run.options().entry, linearsOf(run.plan()), samples,
                   numThreads(run.options()), client, floats.get());
}

static Fingerprint fingerprintOf(ModuleOp module, const QuantizePlan &plan,
                                 const CalibrationSamples *samples) {
  Fingerprint result;
  result.program = QUANTOPT_VERSION;
  result.model = digestModule(module);
  result.data = samples ? digestSamples(*samples) : "none";
  for (const PlannedLayer &layer : plan.layers)
    result.layers.emplace_back(llvm::json::fixUTF8(layer.name),
                               describe(layer.spec));
  return result;
}

/// Goes on from the folder of the option checkpoint.
static LogicalResult resume(QuantizationRun &run, ModuleOp module,
                            const CalibrationSamples *samples) {
  llvm::Expected<Checkpoint> checkpoint = Checkpoint::open(
      run.options().checkpoint, fingerprintOf(module, run.plan(), samples));
  if (!checkpoint)
    return module.emitError("checkpoint: ")
           << llvm::toString(checkpoint.takeError());
  return run.resume(std::move(*checkpoint));
}

/// Rounds the tables and rewrites what reads them, so that the samples run
/// through the rows as they will be.
static LogicalResult quantizeTables(QuantizationRun &run) {
  for (auto [i, layer] : llvm::enumerate(run.plan().layers)) {
    if (layer.linear)
      continue;
    if (!run.isRecorded(i) &&
        failed(quantizeByRounding(run, i, {}, "", wallSeconds())))
      return failure();
    run.rewriteTable(i);
  }
  return success();
}

/// One warning for all layers that wanted data and saw none.
static void warnOfUnreached(QuantizationRun &run, func::FuncOp entry) {
  std::vector<StringRef> names;
  for (auto [layer, row] :
       llvm::zip_equal(run.plan().layers, run.report().layers))
    if (layer.spec.needsData() && row.tokens == 0)
      names.push_back(layer.name);
  if (names.empty())
    return;
  constexpr size_t kMostNames = 10;
  InFlightDiagnostic diag = entry.emitWarning();
  diag << "no calibration token reached " << names.size()
       << " layers, which are rounded to nearest: ";
  llvm::interleaveComma(ArrayRef(names).take_front(kMostNames), diag);
  if (names.size() > kMostNames)
    diag << " and " << names.size() - kMostNames << " more";
  diag << " - give samples that use them";
}

static bool anyLayer(const QuantizePlan &plan,
                     llvm::function_ref<bool(const LayerSpec &)> property) {
  return llvm::any_of(plan.layers, [&](const PlannedLayer &layer) {
    return property(layer.spec);
  });
}

LogicalResult quantizeModule(ModuleOp module, StringRef method,
                             const QuantizeOptions &options) {
  FailureOr<QuantizePlan> plan = planQuantization(module, options);
  if (failed(plan))
    return failure();
  auto entry = module.lookupSymbol<func::FuncOp>(options.entry);
  bool scales = anyLayer(*plan, [](const LayerSpec &spec) {
    return spec.scaling != Scaling::None;
  });
  bool needsData =
      (options.drift && !linearsOf(*plan).empty()) ||
      anyLayer(*plan, [](const LayerSpec &spec) { return spec.needsData(); });
  std::optional<CalibrationSamples> samples;
  if (needsData || scales) {
    FailureOr<std::optional<CalibrationSamples>> found =
        findSamples(entry, options);
    if (failed(found))
      return failure();
    samples = std::move(*found);
  }
  if (scales) {
    // Ops may go away: what was planned before is void.
    mergeEqualOps(module);
    plan = planQuantization(module, options);
    if (failed(plan))
      return failure();
  }
  const CalibrationSamples *data = samples ? &*samples : nullptr;
  QuantizationRun run(module, method, options, std::move(*plan));
  run.report().errorMeasure = samples ? "outputs" : "weights";
  if (samples)
    releaseConstants(module);
  if (options.dryRun)
    return dryRun(module, run, data, numThreads(options));
  if (scales) {
    auto notes = scaleByAwq(module, run.plan(), samples, options);
    if (failed(notes))
      return failure();
    run.noteScaling(std::move(*notes));
  }
  if (!options.checkpoint.empty() && failed(resume(run, module, data)))
    return failure();
  FloatTables floats(module, run);
  if (failed(quantizeTables(run)))
    return failure();
  if (samples && (options.drift || !run.isFinished()) &&
      failed(quantizeOn(*samples, run, module, floats)))
    return failure();
  // Without data that is every layer; with it, those that stand behind a
  // branch that no sample took.
  if (failed(quantizeRestWithoutData(
          run, samples ? "no calibration sample reached it"
                       : "no calibration data")))
    return failure();
  if (samples)
    warnOfUnreached(run, entry);
  return run.finish();
}

} // namespace quantopt::lowbit
