//===- GptqQuantize.cpp - Quantize by GPTQ on calibration data ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizationRun.h"

#include "quantopt/Calibration/Calibrate.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Quantize/Gptq.h"
#include "quantopt/Quantize/Hessian.h"
#include "quantopt/Runtime/Multiply.h"
#include "quantopt/Runtime/Pages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSwitch.h"

#include <thread>

namespace quantopt::lowbit {
#define GEN_PASS_DEF_GPTQQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
/// Quantizes each group of linears when all samples stand at it.
class GptqClient : public CalibrationClient {
public:
  GptqClient(QuantizationRun &run, GptqFactorOptions factorOptions,
             GptqOptions gptqOptions)
      : run(run), factorOptions(factorOptions), gptqOptions(gptqOptions) {}

  LogicalResult observe(ArrayRef<unsigned> linears,
                        ArrayRef<MatrixRef> inputs) override {
    auto start = std::chrono::steady_clock::now();
    int64_t k = inputs[0].cols;
    factorOptions.groupLength = run.options().scheme.groupLength(k);
    GptqFactor factor = GptqFactor::make(accumulate(inputs), k, factorOptions);
    if (!factor.error().empty()) {
      const PlannedLayer &layer = run.plan().layers[linears[0]];
      return emitError(LinearOp(layer.linear).getLoc(), "inputs of layer '")
             << layer.name << "': " << factor.error()
             << " - look for overflow in the model on the calibration data";
    }
    for (unsigned index : linears) {
      if (failed(quantize(index, factor, start)))
        return failure();
      // The Hessian counts for the first of those that share it.
      start = std::chrono::steady_clock::now();
    }
    return success();
  }

  void multiply(unsigned index, MatrixRef x, MutableMatrixRef y) override {
    PackedMatrix weight = run.weight(index);
    multiplyTransposed(
        x,
        [&](int64_t begin, int64_t end, float *out) {
          dequantizeRows(weight, begin, end, out);
        },
        y);
  }

private:
  static std::vector<float> accumulate(ArrayRef<MatrixRef> inputs) {
    HessianAccumulator hessian(inputs[0].cols);
    std::vector<RowBlock> blocks;
    std::vector<std::vector<float>> widened;
    for (const MatrixRef &input : inputs) {
      const float *data = static_cast<const float *>(input.data);
      if (input.kind != FloatKind::F32) {
        std::vector<float> &values =
            widened.emplace_back(input.rows * input.cols);
        widen(input.kind, input.data, values.size(), values.data());
        data = values.data();
      }
      blocks.push_back({data, input.rows});
    }
    hessian.add(blocks);
    return hessian.take();
  }

  LogicalResult quantize(unsigned index, const GptqFactor &factor,
                         std::chrono::steady_clock::time_point start) {
    const PlannedLayer &layer = run.plan().layers[index];
    if (run.isRecorded(index))
      return success();
    if (layer.leader) {
      // Behind a branch the leader may not have been reached, or not yet.
      if (failed(quantize(*layer.leader, factor, start)))
        return failure();
      run.recordShared(index);
      return success();
    }
    // Nothing is known of a layer whose inputs are all dead; GPTQ would store
    // zeros.
    if (factor.deadColumns() == layer.k)
      return quantizeWithoutData(run, index,
                                 "its inputs were all zero on the calibration "
                                 "data: rounded to nearest");
    LinearOp linear = layer.linear;
    FailureOr<WeightValues> weight = readWeight(linear);
    if (failed(weight))
      return failure();
    GptqResult result = quantizeGptq(weight->values, layer.n, layer.k,
                                     run.options().scheme, factor, gptqOptions);
    if (!result.error.empty())
      return linear.emitError("layer '")
             << layer.name << "': " << result.error
             << " - mend the model, or leave the layer out with option skip";
    LayerReport row;
    row.relativeError = result.relativeError();
    row.rtnRelativeError = result.roundToNearestRelativeError();
    row.damp = result.damp;
    row.deadColumns = result.deadColumns;
    row.fallback = result.fallback;
    if (result.keptRoundToNearest && row.fallback.empty())
      row.fallback = "rounding to nearest was better and is kept";
    if (!isa<func::FuncOp>(linear->getParentOp()) && row.fallback.empty())
      row.fallback = "in a branch or loop: calibrated where first reached";
    row.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    run.record(index, result.matrix, std::move(row));
    // From here on the samples multiply with the quantized weight.
    releasePages(weight->values.data(), weight->values.size_bytes());
    return success();
  }

  QuantizationRun &run;
  GptqFactorOptions factorOptions;
  GptqOptions gptqOptions;
};

/// Lets go of the pages of all constants: MlirOptMain scans the whole input
/// file once, and calibration reads each weight again when its turn comes.
void releaseConstants(ModuleOp module) {
  module.walk([](arith::ConstantOp constant) {
    auto attr = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
    AsmResourceBlob *blob = attr ? attr.getRawHandle().getBlob() : nullptr;
    if (blob)
      releasePages(blob->getData().data(), blob->getData().size());
  });
}

struct GptqQuantizePass
    : public quantopt::lowbit::impl::GptqQuantizeBase<GptqQuantizePass> {
  using GptqQuantizeBase::GptqQuantizeBase;
  friend QuantizeOptionText;

  void getDependentDialects(DialectRegistry &registry) const override {
    GptqQuantizeBase::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

  FailureOr<GptqFactorOptions> parseFactorOptions() {
    ModuleOp module = getOperation();
    auto order = llvm::StringSwitch<std::optional<ActOrder>>(actOrder)
                     .Case("none", ActOrder::None)
                     .Case("static", ActOrder::Static)
                     .Case("gar", ActOrder::Gar)
                     .Default(std::nullopt);
    if (!order)
      return module.emitError("option act-order=")
             << actOrder << ": expected 'none', 'static' or 'gar'";
    if (!(damp >= 0 && damp <= 1))
      return module.emitError("option damp=")
             << damp << ": expected a number from 0 to 1";
    if (blockSize < 1)
      return module.emitError("option block-size=")
             << int64_t(blockSize) << ": expected a number of at least 1";
    if (samples < 0)
      return module.emitError("option samples=")
             << int64_t(samples)
             << ": expected a number of at least 1, or 0 for all";
    GptqFactorOptions options;
    options.damp = damp;
    options.order = *order;
    return options;
  }

  /// The samples to calibrate with; nullopt if none are wanted.
  FailureOr<std::optional<CalibrationSamples>> findSamples() {
    using Result = FailureOr<std::optional<CalibrationSamples>>;
    if (calibration == "none")
      return Result(std::nullopt);
    auto function = getOperation().lookupSymbol<func::FuncOp>(entry);
    if (!function)
      return Result(std::nullopt); // planQuantization says so
    if (!calibration.empty()) {
      FailureOr<CalibrationSamples> read = readSamples(calibration, function);
      return failed(read) ? Result(failure()) : Result(std::move(*read));
    }
    Result attached = attachedSamples(function);
    if (succeeded(attached) && !*attached)
      return function.emitError(
          "no calibration data: give calibration=FILE "
          "(.npy, .npz or .safetensors with the inputs of "
          "the entry function), attach it to the module "
          "with --lowbit-attach-data, or ask for "
          "calibration=none");
    return attached;
  }

  LogicalResult quantize() {
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(QuantizeOptionText::of(*this), getOperation());
    FailureOr<GptqFactorOptions> factorOptions = parseFactorOptions();
    if (failed(options) || failed(factorOptions))
      return failure();
    FailureOr<std::optional<CalibrationSamples>> data = findSamples();
    if (failed(data))
      return failure();
    FailureOr<QuantizePlan> plan = planQuantization(getOperation(), *options);
    if (failed(plan))
      return failure();
    QuantizationRun run(getArgument(), *options, std::move(*plan));
    run.report().errorMeasure = *data ? "outputs" : "weights";
    if (*data && failed(quantizeOn(**data, run, *factorOptions)))
      return failure();
    // Without data that is every layer; with it, those that stand behind a
    // branch that no sample took.
    if (failed(quantizeRestWithoutData(
            run, *data ? "no calibration sample reached it: rounded to nearest"
                       : "no calibration data: rounded to nearest")))
      return failure();
    return run.finish();
  }

  /// GPTQ on `used`, cut to the option samples.
  LogicalResult quantizeOn(CalibrationSamples &used, QuantizationRun &run,
                           const GptqFactorOptions &factorOptions) {
    run.report().samples =
        samples > 0 ? std::min<int64_t>(samples, used.count) : used.count;
    used.truncate(run.report().samples);
    releaseConstants(getOperation());
    GptqOptions gptqOptions;
    gptqOptions.search = run.options().search;
    gptqOptions.blockSize = blockSize;
    gptqOptions.refinements = refine;
    GptqClient client(run, factorOptions, gptqOptions);
    SmallVector<LinearOp> linears;
    for (const PlannedLayer &layer : run.plan().layers)
      linears.push_back(layer.linear);
    unsigned useThreads =
        threads ? threads : std::max(1u, std::thread::hardware_concurrency());
    return calibrate(getOperation(), run.options().entry, linears, used,
                     useThreads, client);
  }

  void runOnOperation() override {
    if (failed(quantize()))
      signalPassFailure();
  }
};
} // namespace
