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
  return layer.reader()->emitError("layer '")
         << layer.name << "': " << error
         << " - mend the model, or leave the layer out with option skip";
}

/// A layer in a branch or loop may see more inputs than those it is quantized
/// on.
static void noteControlFlow(const PlannedLayer &layer, LayerReport &row) {
  if (row.fallback.empty() && !isa<func::FuncOp>(layer.reader()->getParentOp()))
    row.fallback = "in a branch or loop: calibrated where first reached";
}

/// sum importance_j d_ij^2; weights 1 if `importance` is empty.
static double weightedSquare(std::span<const float> d,
                             std::span<const float> importance) {
  double sum = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    double square = static_cast<double>(d[i]) * d[i];
    sum += importance.empty() ? square
                              : square * importance[i % importance.size()];
  }
  return sum;
}

/// The error of plain rounding to nearest, dequantized - w, of the weight that
/// `w` was before its columns were multiplied by `scales` (empty: by nothing);
/// columns in the units of `w`.
static std::vector<float> plainDifference(const PlannedLayer &layer,
                                          std::span<const float> w,
                                          std::span<const float> scales) {
  std::vector<float> original(w.begin(), w.end()), d(w.size());
  auto scaleAt = [&](size_t i) { return scales[i % scales.size()]; };
  for (size_t i = 0; i < w.size() && !scales.empty(); ++i)
    original[i] /= scaleAt(i);
  const LayerSpec &spec = layer.spec;
  dequantize(quantizeRoundToNearest(original, layer.n, layer.k, spec.scheme,
                                    {SearchKind::None, spec.search.fullRange}),
             d);
  for (size_t i = 0; i < w.size(); ++i)
    d[i] = (d[i] - original[i]) * (scales.empty() ? 1.0f : scaleAt(i));
  return d;
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
  FailureOr<WeightValues> weight = readWeight(layer);
  if (failed(weight))
    return failure();
  std::span<const float> w = weight->values, measure, importance, hessian;
  if (!inputs.isDead())
    measure = inputs.meanSquare;
  if (spec.needsData())
    importance = measure;
  if (spec.importance == Importance::Outputs && !inputs.isDead())
    hessian = inputs.hessian;
  std::string error =
      roundToNearestError(w, layer.n, layer.k, spec.scheme, importance);
  if (!error.empty())
    return refuse(layer, error);
  QuantizedMatrix matrix = quantizeRoundToNearest(
      w, layer.n, layer.k, spec.scheme, spec.search, importance, hessian);
  LayerReport row;
  row.method = importance.empty() ? "rtn"
               : hessian.empty()  ? "rtn importance=inputs"
                                  : "rtn importance=outputs";
  row.tokens = inputs.tokens;
  row.errorMeasure = !hessian.empty()  ? "outputs"
                     : measure.empty() ? "weights"
                                       : "importance";
  auto square = [&](std::span<const float> d) {
    return hessian.empty() ? weightedSquare(d, measure)
                           : objective(d, layer.n, layer.k, hessian);
  };
  if (double reference = square(w); reference > 0) {
    row.rtnRelativeError =
        square(plainDifference(layer, w, run.columnScales(index))) / reference;
    std::vector<float> d(w.size());
    dequantize(matrix, d);
    for (size_t i = 0; i < d.size(); ++i)
      d[i] -= w[i];
    row.relativeError = square(d) / reference;
  }
  row.fallback = layer.fallback.empty()
                     ? fallbackOf(spec, why, !importance.empty())
                     : layer.fallback;
  if (!importance.empty())
    noteControlFlow(layer, row);
  row.seconds = wallSeconds() - start;
  if (failed(run.record(index, matrix, w, std::move(row))))
    return failure();
  releaseWeight(layer);
  return success();
}

LogicalResult quantizeByGptq(QuantizationRun &run, unsigned index,
                             const GptqFactor &factor,
                             const InputStatistics &inputs, Seconds start,
                             const std::optional<TargetWeight> &target) {
  const PlannedLayer &layer = run.plan().layers[index];
  FailureOr<WeightValues> weight = readWeight(layer);
  if (failed(weight))
    return failure();
  std::span<const float> w =
      target ? std::span<const float>(target->values) : weight->values;
  GptqResult result = quantizeGptq(w, layer.n, layer.k, layer.spec.scheme,
                                   factor, layer.spec.gptqOptions());
  if (!result.error.empty())
    return refuse(layer, result.error);
  LayerReport row;
  row.method = "gptq";
  row.tokens = inputs.tokens;
  row.errorMeasure = "outputs";
  row.relativeError = result.relativeError();
  row.rtnRelativeError = result.roundToNearestRelativeError();
  if (std::span<const float> scales = run.columnScales(index);
      !scales.empty() && result.reference > 0)
    row.rtnRelativeError = objective(plainDifference(layer, w, scales), layer.n,
                                     layer.k, factor.hessian()) /
                           result.reference;
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
  releaseWeight(layer);
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
