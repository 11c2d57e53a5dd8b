//===- Estimate.cpp - What a run would need -------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Time: compiling and solving do not depend on the number of samples, the
// forward pass and the Hessians are proportional to it. Memory: what the
// process holds at any moment of the probe, and for each sample that the probe
// left out what one sample keeps alive while it waits.
//
//===----------------------------------------------------------------------===//

#include "Estimate.h"

#include "InputRows.h"
#include "QuantizeClient.h"

#include "quantopt/Quantize/RoundToNearest.h"
#include "quantopt/Runtime/BufferPool.h"
#include "quantopt/Runtime/Pages.h"

#include <fstream>

using namespace mlir;

namespace quantopt::lowbit {

namespace {
/// Time of the process and on the wall, as a point or as a difference.
struct Clock {
  Seconds wall = 0, cpu = 0;

  static Clock now() { return {wallSeconds(), cpuSeconds()}; }
  Clock operator-(const Clock &other) const {
    return {wall - other.wall, cpu - other.cpu};
  }
  Clock operator+(const Clock &other) const {
    return {wall + other.wall, cpu + other.cpu};
  }
  Clock operator*(double factor) const { return {wall * factor, cpu * factor}; }
};

/// The largest resident set since the last call, or of the whole process where
/// the system cannot be asked for less.
int64_t takePeakBytes() {
  int64_t bytes = peakBytes();
  std::ofstream("/proc/self/clear_refs") << "5";
  return bytes;
}

/// What tells groups of linears apart: the options and shapes of those members
/// that are still to be quantized.
using GroupKind = std::vector<std::pair<std::array<int64_t, 2>, LayerSpec>>;

struct GroupCost {
  GroupKind kind;
  Clock fixed, perSample;
};

/// Records layer `index` at little cost.
LogicalResult roundPlainly(QuantizationRun &run, unsigned index) {
  const PlannedLayer &layer = run.plan().layers[index];
  if (layer.leader) {
    if (!run.isRecorded(*layer.leader) &&
        failed(roundPlainly(run, *layer.leader)))
      return failure();
    run.recordShared(index);
    return success();
  }
  FailureOr<WeightValues> weight = readWeight(layer);
  if (failed(weight))
    return failure();
  QuantizedMatrix matrix = quantizeRoundToNearest(
      weight->values, layer.n, layer.k, layer.spec.scheme, {SearchKind::None});
  LogicalResult result =
      run.record(index, matrix, weight->values, LayerReport());
  releasePages(weight->values.data(), weight->values.size_bytes());
  return result;
}

class ProbeClient : public CalibrationClient {
public:
  ProbeClient(QuantizationRun &run, int64_t samples, int64_t probed)
      : run(run), client(run), left(samples - probed), probed(probed),
        start(Clock::now()) {
    takePeakBytes();
  }

  bool wantsFloatStream() const override { return client.wantsFloatStream(); }

  LogicalResult observe(ArrayRef<unsigned> linears,
                        const GroupInputs &group) override {
    Clock before = Clock::now();
    if (observed.cpu == 0)
      compile = before - start;
    // Every sample waits here, and holds what it still needs.
    int64_t live = poolUse().liveBytes / probed;
    notePeak(std::max(live, lastLive));
    LogicalResult result = probe(linears, group);
    notePeak(live);
    lastLive = live;
    observed = observed + (Clock::now() - before);
    return result;
  }

  void multiply(unsigned index, MatrixRef x, MutableMatrixRef y) override {
    client.multiply(index, x, y);
  }

  /// After the run.
  RunEstimate estimate(unsigned threads) {
    notePeak(lastLive);
    double scale = static_cast<double>(left + probed) / probed;
    Seconds forward = (Clock::now() - start - compile - observed).cpu * scale;
    RunEstimate result;
    result.wall = compile.wall + forward / threads;
    result.cpu = compile.cpu + forward;
    for (const GroupCost &group : groups) {
      Clock cost = group.fixed + group.perSample * (left + probed);
      result.wall += cost.wall;
      result.cpu += cost.cpu;
    }
    result.peakBytes = peak;
    return result;
  }

private:
  void notePeak(int64_t livePerSample) {
    peak = std::max(peak, takePeakBytes() + left * livePerSample);
  }

  GroupKind kindOf(ArrayRef<unsigned> linears) const {
    GroupKind kind;
    for (unsigned index : linears) {
      const PlannedLayer &layer = run.plan().layers[index];
      if (!run.isRecorded(index) && !layer.leader)
        kind.push_back({{layer.n, layer.k}, layer.spec});
    }
    return kind;
  }

  LogicalResult probe(ArrayRef<unsigned> linears, const GroupInputs &group) {
    GroupKind kind = kindOf(linears);
    auto it = llvm::find_if(
        groups, [&](const GroupCost &group) { return group.kind == kind; });
    if (it != groups.end()) {
      groups.push_back(*it);
      for (unsigned index : linears)
        if (!run.isRecorded(index) && failed(roundPlainly(run, index)))
          return failure();
      return success();
    }
    GroupCost cost = {kind, {}, {}};
    Clock begin = Clock::now();
    if (llvm::any_of(kind, [](const auto &member) {
          return member.second.method == Method::Gptq;
        })) {
      addMoments(kind, group);
      cost.perSample = (Clock::now() - begin) * (1.0 / probed);
    }
    begin = Clock::now();
    LogicalResult result = client.observe(linears, group);
    cost.fixed = Clock::now() - begin - cost.perSample * probed;
    groups.push_back(cost);
    return result;
  }

  /// Once more what the client adds up over the samples.
  static void addMoments(const GroupKind &kind, const GroupInputs &group) {
    int64_t k = group.inputs[0].cols;
    HessianAccumulator hessian(k);
    forEachBatch(group.inputs,
                 [&](ArrayRef<RowBlock> rows) { hessian.add(rows); });
    if (group.floatInputs.empty() ||
        llvm::none_of(kind, [](const auto &member) {
          return member.second.needsFloatStream();
        }))
      return;
    InputRows rows(group.inputs), floats(group.floatInputs);
    DriftAccumulator(k, k).add({floats.get(), rows.get()}, rows.get());
    if (group.residuals.empty())
      return;
    InputRows residuals(group.residuals), floatResiduals(group.floatResiduals);
    DriftAccumulator(group.residuals[0].cols, k)
        .add({floatResiduals.get(), residuals.get()}, rows.get());
  }

  QuantizationRun &run;
  QuantizeClient client;
  int64_t left, probed; ///< samples
  Clock start, compile, observed;
  int64_t lastLive = 0, peak = 0;
  std::vector<GroupCost> groups; ///< of every group that was reached
};
} // namespace

/// Adds what the layers cost that no sample reaches, one of each kind measured.
static LogicalResult estimateRest(QuantizationRun &probe,
                                  RunEstimate &estimate) {
  std::vector<GroupCost> kinds;
  for (auto [i, layer] : llvm::enumerate(probe.plan().layers)) {
    if (probe.isRecorded(i))
      continue;
    if (layer.leader) {
      probe.recordShared(i);
      continue;
    }
    GroupKind kind = {{{layer.n, layer.k}, layer.spec}};
    auto it = llvm::find_if(
        kinds, [&](const GroupCost &cost) { return cost.kind == kind; });
    if (it == kinds.end()) {
      Clock begin = Clock::now();
      if (failed(quantizeByRounding(probe, i, {}, "", begin.wall)))
        return failure();
      it = kinds.insert(it, {kind, Clock::now() - begin, {}});
    } else if (failed(roundPlainly(probe, i))) {
      return failure();
    }
    estimate.wall += it->fixed.wall;
    estimate.cpu += it->fixed.cpu;
  }
  return success();
}

FailureOr<RunEstimate> estimateRun(ModuleOp module, QuantizationRun &probe,
                                   const CalibrationSamples *samples,
                                   unsigned threads) {
  RunEstimate estimate;
  if (samples) {
    CalibrationSamples some = *samples;
    some.truncate(std::min<int64_t>(threads, some.count));
    ProbeClient client(probe, samples->count, some.count);
    if (failed(calibrate(module, probe.options().entry, linearsOf(probe.plan()),
                         some, threads, client)))
      return failure();
    estimate = client.estimate(threads);
  }
  takePeakBytes();
  if (failed(estimateRest(probe, estimate)))
    return failure();
  estimate.peakBytes = std::max(estimate.peakBytes, takePeakBytes());
  return estimate;
}

} // namespace quantopt::lowbit
