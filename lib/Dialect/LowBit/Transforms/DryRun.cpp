//===- DryRun.cpp - What a run would do -----------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DryRun.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Formats/Files.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt::lowbit {

namespace {
struct DryLayer {
  const PlannedLayer &plan;
  LayerRole role;
  StringRef sharesWeightOf; ///< the layer that stores it, or empty
  std::string scheme;
  double bitsPerWeight;
  int64_t bytesBefore, bytesAfter; ///< 0 if it shares an earlier weight
};

struct DryReport {
  std::string method;
  int64_t samples;
  std::vector<DryLayer> layers;
  ArrayRef<SkippedReport> skipped;
  RunEstimate estimate;

  int64_t bytesBefore() const { return sum(&DryLayer::bytesBefore); }
  int64_t bytesAfter() const { return sum(&DryLayer::bytesAfter); }
  llvm::json::Value toJSON() const;
  void print(raw_ostream &os) const;

private:
  int64_t sum(int64_t DryLayer::*bytes) const {
    int64_t total = 0;
    for (const DryLayer &layer : layers)
      total += layer.*bytes;
    return total;
  }
};
} // namespace

llvm::json::Value DryReport::toJSON() const {
  llvm::json::Array layerArray, skippedArray;
  for (const DryLayer &layer : layers)
    layerArray.push_back(
        llvm::json::Object{{"name", layer.plan.name},
                           {"role", describe(layer.role)},
                           {"n", layer.plan.n},
                           {"k", layer.plan.k},
                           {"scheme", layer.scheme},
                           {"bits_per_weight", layer.bitsPerWeight},
                           {"weight_bytes_before", layer.bytesBefore},
                           {"weight_bytes_after", layer.bytesAfter},
                           {"options", describe(layer.plan.spec)}});
  for (const SkippedReport &skip : skipped)
    skippedArray.push_back(
        llvm::json::Object{{"name", skip.name}, {"reason", skip.reason}});
  return llvm::json::Object{
      {"dry_run", llvm::json::Object{{"method", method},
                                     {"samples", samples},
                                     {"weight_bytes_before", bytesBefore()},
                                     {"weight_bytes_after", bytesAfter()},
                                     {"wall_seconds", estimate.wall},
                                     {"cpu_seconds", estimate.cpu},
                                     {"peak_bytes", estimate.peakBytes}}},
      {"layers", std::move(layerArray)},
      {"skipped", std::move(skippedArray)}};
}

void DryReport::print(raw_ostream &os) const {
  size_t width = 5;
  for (const DryLayer &layer : layers)
    width = std::max(width, layer.plan.name.size());
  os << llvm::left_justify("layer", width)
     << "        N x K  bits/w        KB  would be\n";
  for (const DryLayer &layer : layers) {
    os << llvm::left_justify(layer.plan.name, width)
       << llvm::right_justify(
              llvm::formatv("{0}x{1}", layer.plan.n, layer.plan.k).str(), 13)
       << llvm::format("  %6.3f  %8.1f  ", layer.bitsPerWeight,
                       layer.bytesAfter / 1e3)
       << optionText(layer.plan.spec, "method") << " " << layer.scheme;
    if (!layer.sharesWeightOf.empty())
      os << ", shares the weight of " << layer.sharesWeightOf;
    if (layer.role != LayerRole::Linear)
      os << ", " << describe(layer.role);
    if (!layer.plan.fallback.empty())
      os << ", " << layer.plan.fallback;
    os << "\n";
  }
  printSkipped(skipped, os);
  os << llvm::formatv(
      "dry run of {0}: {1} layers, {2:F2} -> {3:F2} MB; on {4} samples expect "
      "about {5:F0} s wall, {6:F0} s CPU, peak {7:F0} MB\n",
      method, layers.size(), bytesBefore() / 1e6, bytesAfter() / 1e6, samples,
      estimate.wall, estimate.cpu, estimate.peakBytes / 1e6);
}

LogicalResult dryRun(ModuleOp module, QuantizationRun &run,
                     const CalibrationSamples *samples, unsigned threads) {
  FailureOr<RunEstimate> estimate = estimateRun(module, run, samples, threads);
  if (failed(estimate))
    return failure();
  DryReport report = {run.report().method,
                      samples ? samples->count : 0,
                      {},
                      run.plan().skipped,
                      *estimate};
  for (unsigned i : reportOrder(run.plan())) {
    const PlannedLayer &layer = run.plan().layers[i];
    const LayerReport &row = run.report().layers[i];
    DryLayer dry = {layer,      row.role,          row.sharesWeightOf,
                    row.scheme, row.bitsPerWeight, 0,
                    0};
    if (!layer.leader) {
      dry.bytesBefore = blobSize(cast<ShapedType>(layer.constant().getType()));
      dry.bytesAfter = planeSizes(layer.spec.scheme, layer.n, layer.k).total();
    }
    report.layers.push_back(std::move(dry));
  }
  report.print(llvm::errs());
  const std::string &path = run.options().report;
  if (path.empty())
    return success();
  llvm::Error error = writeFile(path, [&](raw_ostream &os) {
    os << llvm::formatv("{0:2}", report.toJSON()) << "\n";
    return llvm::Error::success();
  });
  if (error)
    return module.emitError("cannot write report: ")
           << llvm::toString(std::move(error));
  return success();
}

} // namespace quantopt::lowbit
