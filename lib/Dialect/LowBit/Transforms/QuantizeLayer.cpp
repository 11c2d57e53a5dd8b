//===- QuantizeLayer.cpp - Quantize one layer as its spec says ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeLayer.h"

#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace quantopt::lowbit {

bool InputStatistics::isDead() const {
  return llvm::all_of(meanSquare, [](float value) { return value == 0; });
}

static LogicalResult refuse(const PlannedLayer &layer, StringRef error) {
  return LinearOp(layer.linear)->emitError("layer '")
         << layer.name << "': " << error
         << " - mend the model, or leave the layer out with option skip";
}

/// A layer in a branch or loop may see more inputs than those it is quantized
/// on.
static void noteControlFlow(const PlannedLayer &layer, LayerReport &row) {
  if (row.fallback.empty() &&
      !isa<func::FuncOp>(LinearOp(layer.linear)->getParentOp()))
    row.fallback = "in a branch or loop: calibrated where first reached";
}

/// sum importance_j w_ij^2; weights 1 if `importance` is empty.
static double weightedSquare(std::span<const float> w,
                             std::span<const float> importance) {
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    double square = static_cast<double>(w[i]) * w[i];
    sum += importance.empty() ? square
                              : square * importance[i % importance.size()];
  }
  return sum;
}

/// What `why` led to, for a layer whose codes are rounded to nearest.
static std::string fallbackOf(const LayerSpec &spec, StringRef why,
                              bool isWeighted) {
  if (why.empty() || !spec.needsData())
    return "";
  if (spec.method == Method::RoundToNearest)
    return (why + ": not weighted by importance").str();
  return (why + ": rounded to nearest" +
          (isWeighted ? ", weighted by importance" : ""))
      .str();
}

LogicalResult quantizeByRounding(QuantizationRun &run, unsigned index,
                                 const InputStatistics &inputs, StringRef why,
                                 Seconds start) {
  const PlannedLayer &layer = run.plan().layers[index];
  const LayerSpec &spec = layer.spec;
  FailureOr<WeightValues> weight = readWeight(layer.linear);
  if (failed(weight))
    return failure();
  std::span<const float> w = weight->values, measure, importance;
  if (!inputs.isDead())
    measure = inputs.meanSquare;
  if (spec.needsData())
    importance = measure;
  std::string error =
      roundToNearestError(w, layer.n, layer.k, spec.scheme, importance);
  if (!error.empty())
    return refuse(layer, error);
  QuantizedMatrix matrix = quantizeRoundToNearest(
      w, layer.n, layer.k, spec.scheme, spec.search, importance);
  QuantizedMatrix plain =
      quantizeRoundToNearest(w, layer.n, layer.k, spec.scheme,
                             {SearchKind::None, spec.search.fullRange});
  LayerReport row;
  row.method = importance.empty() ? "rtn" : "rtn importance=inputs";
  row.tokens = inputs.tokens;
  row.errorMeasure = measure.empty() ? "weights" : "importance";
  if (double reference = weightedSquare(w, measure); reference > 0) {
    row.relativeError = weightedError(matrix, w, measure) / reference;
    row.rtnRelativeError = weightedError(plain, w, measure) / reference;
  }
  row.fallback = fallbackOf(spec, why, !importance.empty());
  if (!importance.empty())
    noteControlFlow(layer, row);
  row.seconds = wallSeconds() - start;
  if (failed(run.record(index, matrix, w, std::move(row))))
    return failure();
  releaseWeight(layer.linear);
  return success();
}

LogicalResult quantizeByGptq(QuantizationRun &run, unsigned index,
                             const GptqFactor &factor,
                             const InputStatistics &inputs, Seconds start,
                             const std::optional<TargetWeight> &target) {
  const PlannedLayer &layer = run.plan().layers[index];
  FailureOr<WeightValues> weight = readWeight(layer.linear);
  if (failed(weight))
    return failure();
  GptqResult result = quantizeGptq(
      target ? std::span<const float>(target->values) : weight->values, layer.n,
      layer.k, layer.spec.scheme, factor, layer.spec.gptqOptions());
  if (!result.error.empty())
    return refuse(layer, result.error);
  LayerReport row;
  row.method = "gptq";
  row.tokens = inputs.tokens;
  row.errorMeasure = "outputs";
  row.relativeError = result.relativeError();
  row.rtnRelativeError = result.roundToNearestRelativeError();
  row.damp = result.damp;
  if (target)
    row.asymmetricStrength = target->strength;
  row.deadColumns = result.deadColumns;
  row.fallback = result.fallback;
  if (result.keptRoundToNearest && row.fallback.empty())
    row.fallback = "rounding to nearest was better and is kept";
  noteControlFlow(layer, row);
  row.seconds = wallSeconds() - start;
  if (failed(run.record(index, result.matrix, weight->values, std::move(row))))
    return failure();
  // From here on the samples multiply with the quantized weight.
  releaseWeight(layer.linear);
  return success();
}

LogicalResult quantizeRestWithoutData(QuantizationRun &run, StringRef why) {
  for (auto [i, layer] : llvm::enumerate(run.plan().layers)) {
    if (run.isRecorded(i))
      continue;
    if (layer.leader)
      run.recordShared(i);
    else if (failed(quantizeByRounding(run, i, {}, why, wallSeconds())))
      return failure();
  }
  return success();
}

} // namespace quantopt::lowbit
