//===- AwqScale.cpp - Scale the inputs of linears before rounding ---------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqScaling.h"
#include "QuantizationRun.h"
#include "QuantizerPass.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITAWQSCALE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

/// What was done, in the form of a quantizer's report: nothing is rounded yet.
static ModelReport makeReport(StringRef method, const QuantizePlan &plan,
                              ArrayRef<LayerScaling> notes) {
  ModelReport report;
  report.method = method;
  report.errorMeasure = "outputs";
  report.skipped = plan.skipped;
  for (auto [layer, note] : llvm::zip_equal(plan.layers, notes)) {
    auto type =
        cast<RankedTensorType>(LinearOp(layer.linear).getWeight().getType());
    LayerReport row;
    row.name = layer.name;
    row.n = layer.n;
    row.k = layer.k;
    llvm::raw_string_ostream(row.scheme) << type.getElementType();
    row.method = method;
    row.errorMeasure = report.errorMeasure;
    row.bitsPerWeight = type.getElementTypeBitWidth();
    row.awq = note.report;
    report.layers.push_back(std::move(row));
    report.bytesBefore += blobSize(type);
  }
  report.bytesAfter = report.bytesBefore;
  return report;
}

namespace {
struct AwqScalePass
    : QuantizerPass<quantopt::lowbit::impl::LowBitAwqScaleBase<AwqScalePass>> {
  using QuantizerPass::QuantizerPass;

  LogicalResult scale(const QuantizeOptions &options) {
    ModuleOp module = getOperation();
    if (options.dryRun || options.drift || !options.checkpoint.empty())
      return module.emitError("options checkpoint, dry-run and drift are for "
                              "passes that quantize - leave them out");
    Seconds wallStart = wallSeconds(), cpuStart = cpuSeconds();
    // For the checks that it makes; ops may go away when equal ones are merged.
    if (failed(planQuantization(module, options, /*withTables=*/false)))
      return failure();
    auto entry = module.lookupSymbol<func::FuncOp>(options.entry);
    mergeEqualOps(module);
    FailureOr<QuantizePlan> plan =
        planQuantization(module, options, /*withTables=*/false);
    FailureOr<std::optional<CalibrationSamples>> samples =
        findSamples(entry, options);
    if (failed(plan) || failed(samples))
      return failure();
    FailureOr<std::vector<LayerScaling>> notes =
        scaleByAwq(module, *plan, *samples, options);
    if (failed(notes))
      return failure();
    ModelReport report = makeReport(getArgument(), *plan, *notes);
    report.samples = (*samples)->count;
    report.wallSeconds = wallSeconds() - wallStart;
    report.cpuSeconds = cpuSeconds() - cpuStart;
    report.peakBytes = peakBytes();
    if (options.progress != ProgressStyle::None)
      report.print(llvm::errs());
    if (options.report.empty())
      return success();
    if (llvm::Error error = writeReport(options.report, report))
      return module.emitError("cannot write report '")
             << options.report << "': " << llvm::toString(std::move(error));
    return success();
  }

  void runOnOperation() override {
    QuantizeOptions start;
    start.layer.scaling = Scaling::Awq;
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(optionText(), std::move(start), getOperation());
    if (failed(options) || failed(scale(*options)))
      signalPassFailure();
  }
};
} // namespace
