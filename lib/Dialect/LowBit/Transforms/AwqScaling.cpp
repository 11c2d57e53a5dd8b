//===- AwqScaling.cpp - Scale the inputs of linears -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqScaling.h"

#include "AwqFold.h"
#include "InputRows.h"
#include "QuantizeModule.h"

#include "quantopt/Calibration/Calibrate.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Quantize/Awq.h"
#include "quantopt/Runtime/Pages.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"

using namespace mlir;

namespace quantopt::lowbit {

/// An op that multiplies the input costs time at every run: it has to take away
/// at least this part of the error.
static constexpr double kLeastGainOfMultiply = 0.1;

namespace {
/// Linears that read one input, with what was found for them.
struct ScaledGroup {
  SmallVector<unsigned> layers;
  AwqScales scales;
};

/// Searches scales where the samples of the float model stand.
class AwqClient : public CalibrationClient {
public:
  AwqClient(const QuantizePlan &plan, const ConstantReaders &readers,
            ProgressStyle style)
      : plan(plan), readers(readers),
        progress(style, llvm::errs(), cost(plan)) {}

  bool keepsWeights() const override { return true; }

  LogicalResult observe(ArrayRef<unsigned> layers,
                        const GroupInputs &group) override;

  void finish() { progress.finish(); }

  /// In the order in which samples met them.
  std::vector<ScaledGroup> groups;

private:
  static double cost(const QuantizePlan &plan) {
    double total = 0;
    for (const PlannedLayer &layer : plan.layers)
      if (layer.linear)
        total += static_cast<double>(layer.n) * layer.k;
    return total;
  }
  bool mayScale(unsigned layer) const {
    const PlannedLayer &planned = plan.layers[layer];
    LinearOp linear = planned.linear;
    // What experts read, others do too: each would need a product of its own.
    return planned.spec.scaling == Scaling::Awq && !linear.isRouted() &&
           readers.isOwn(linear);
  }

  const QuantizePlan &plan;
  const ConstantReaders &readers;
  Progress progress;
};
} // namespace

LogicalResult AwqClient::observe(ArrayRef<unsigned> layers,
                                 const GroupInputs &inputs) {
  ScaledGroup group = {llvm::to_vector(layers), {}};
  // One input cannot be scaled for some of its readers only.
  if (llvm::all_of(layers, [&](unsigned layer) { return mayScale(layer); })) {
    int64_t k = inputs.inputs[0].cols;
    std::vector<float> magnitude =
        meanMagnitudes(InputRows(inputs.inputs).get(), k);
    std::vector<float> hessian = secondMoments(inputs.inputs, k);
    std::vector<WeightValues> values;
    std::vector<AwqWeight> members;
    for (unsigned layer : layers) {
      const PlannedLayer &planned = plan.layers[layer];
      FailureOr<WeightValues> weight = readWeight(planned);
      if (failed(weight))
        return failure();
      values.push_back(std::move(*weight));
      members.push_back({values.back().values,
                         planned.n,
                         planned.spec.scheme,
                         {SearchKind::None, planned.spec.search.fullRange}});
    }
    group.scales = searchAwqScales(members, k, {hessian, magnitude});
    if (!group.scales.error.empty()) {
      const PlannedLayer &first = plan.layers[layers[0]];
      return LinearOp(first.linear)->emitError("layer '")
             << first.name << "': " << group.scales.error
             << " - mend the model, or leave the layer out with option skip";
    }
    groups.push_back(std::move(group));
  }
  for (unsigned layer : layers) {
    const PlannedLayer &planned = plan.layers[layer];
    progress.advance(planned.name, static_cast<double>(planned.n) * planned.k);
  }
  return success();
}

void mergeEqualOps(ModuleOp module) {
  IRRewriter rewriter(module.getContext());
  DominanceInfo dominance;
  for (auto function : module.getOps<func::FuncOp>())
    eliminateCommonSubExpressions(rewriter, dominance, function);
}

namespace {
/// The linears of a group in another function, and where its factors go.
struct GroupElsewhere {
  SmallVector<LinearOp> linears;
  std::optional<Fold> fold;
};
} // namespace

/// The group of `linears` in other functions. Fails if one has some of them
/// only, whose input would have to be scaled for these alone.
static FailureOr<SmallVector<GroupElsewhere>>
findElsewhere(ArrayRef<LinearOp> linears, const ConstantReaders &readers) {
  llvm::MapVector<Operation *, GroupElsewhere> functions;
  for (LinearOp linear : linears)
    for (LinearOp other : readers.elsewhere(linear))
      functions[other->getParentOfType<func::FuncOp>()].linears.push_back(
          other);
  SmallVector<GroupElsewhere> found;
  for (auto &[function, group] : functions) {
    if (group.linears.size() != linears.size())
      return failure();
    found.push_back(std::move(group));
  }
  return found;
}

/// What can take the factors in the entry, and the same in all other functions.
static FailureOr<Fold> findFolds(ArrayRef<LinearOp> linears,
                                 MutableArrayRef<GroupElsewhere> others,
                                 const ConstantReaders &readers,
                                 std::string &why) {
  FailureOr<Fold> fold = findFold(linears, readers, why);
  for (GroupElsewhere &other : others) {
    if (failed(fold))
      return failure();
    FailureOr<Fold> its = findFold(other.linears, readers, why);
    if (failed(its) || !isSameFold(*fold, *its)) {
      why = ("in '" +
             other.linears[0]->getParentOfType<func::FuncOp>().getName() +
             "': " + (failed(its) ? why : "other constants would take them"))
                .str();
      return failure();
    }
    other.fold = std::move(*its);
  }
  return fold;
}

/// Folds the scales of `group` into the graph, or drops them; says which in
/// `note`.
static LogicalResult place(const ScaledGroup &group, ArrayRef<LinearOp> linears,
                           const ConstantReaders &readers,
                           WeightFactorMap &weights, LayerScaling &note) {
  const AwqScales &scales = group.scales;
  if (!scales.isScaled())
    return success();
  AwqReport &report = *note.report;
  double errorRatio = scales.objective / scales.plainObjective;
  std::vector<float> inverses;
  for (float scale : scales.scales)
    inverses.push_back(1.0f / scale);
  FailureOr<SmallVector<GroupElsewhere>> others =
      findElsewhere(linears, readers);
  if (failed(others)) {
    report.placed = "dropped: another function has some of its layers only";
    return success();
  }
  std::string why;
  FailureOr<Fold> fold = findFolds(linears, *others, readers, why);
  if (failed(fold) && errorRatio > 1 - kLeastGainOfMultiply) {
    report.placed = "dropped: " + why;
    return success();
  }
  if (succeeded(fold)) {
    report.placed = fold->describe();
    if (failed(applyFold(*fold, inverses, weights)))
      return failure();
    for (const GroupElsewhere &other : *others)
      followFold(*fold, *other.fold);
  } else {
    report.placed = "an inserted multiplication (" + why + ")";
    report.isMultiply = true;
    insertMultiply(linears, inverses);
    for (const GroupElsewhere &other : *others)
      insertMultiply(other.linears, inverses);
  }
  report.alpha = scales.alpha;
  report.usesWeights = scales.usesWeights;
  report.errorRatio = errorRatio;
  note.columns = scales.scales;
  for (LinearOp linear : linears)
    weights[linear].columns = scales.scales;
  return success();
}

FailureOr<std::vector<LayerScaling>>
scaleByAwq(ModuleOp module, const QuantizePlan &plan,
           const std::optional<CalibrationSamples> &samples,
           const QuantizeOptions &options) {
  if (!samples)
    return module.emitError("option calibration=none: scales of awq are chosen "
                            "by the inputs of layers - give calibration "
                            "samples, or scaling=none");
  ConstantReaders readers(module);
  AwqClient client(plan, readers, options.progress);
  SmallVector<LinearOp> linears = linearsOf(plan);
  if (failed(calibrate(module, options.entry, linears, *samples,
                       numThreads(options), client)))
    return failure();
  client.finish();
  std::vector<LayerScaling> notes(plan.layers.size());
  WeightFactorMap weights;
  for (const ScaledGroup &group : client.groups) {
    SmallVector<LinearOp> members;
    for (unsigned layer : group.layers)
      members.push_back(linears[layer]);
    LayerScaling note;
    note.report.emplace().group = &group - client.groups.data();
    if (failed(place(group, members, readers, weights, note)))
      return failure();
    for (unsigned layer : group.layers)
      notes[layer] = note;
  }
  for (auto &[op, factors] : weights) {
    auto linear = cast<LinearOp>(op);
    SmallVector<LinearOp> others = readers.elsewhere(linear);
    if (failed(applyFactors(linear, factors)))
      return failure();
    for (LinearOp other : others)
      followConstant(linear.getWeightMutable(), other.getWeightMutable());
  }
  return notes;
}

} // namespace quantopt::lowbit
