//===- QuantizeClient.cpp - Quantize where the samples stand --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeClient.h"

#include "InputRows.h"

#include "quantopt/Runtime/Multiply.h"

#include "llvm/Support/FormatVariadic.h"

#include <map>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

bool QuantizeClient::usesHessian(unsigned index,
                                 const InputStatistics &inputs) const {
  const LayerSpec &spec = run.plan().layers[index].spec;
  return spec.method == Method::Gptq && !inputs.isDead() &&
         inputs.tokens >= spec.minTokens;
}

QuantizeClient::FactorKey
QuantizeClient::factorKey(unsigned index, const InputStatistics &inputs) const {
  const LayerSpec &spec = run.plan().layers[index].spec;
  return {spec.levelTokens,
          spec.factorOptions(inputs.meanSquare.size(), inputs.tokens)};
}

std::vector<unsigned>
QuantizeClient::layersToSolve(ArrayRef<unsigned> linears,
                              const InputStatistics &inputs) const {
  std::vector<unsigned> solved;
  for (unsigned index : linears) {
    // Behind a branch the leader may not have been reached, or not yet. Its
    // spec is the same.
    unsigned layer = run.plan().layers[index].leader.value_or(index);
    if (!run.isRecorded(layer) && usesHessian(layer, inputs) &&
        !llvm::is_contained(solved, layer))
      solved.push_back(layer);
  }
  return solved;
}

FailureOr<std::optional<QuantizeClient::Targets>>
QuantizeClient::makeTargets(ArrayRef<unsigned> layers, const GroupInputs &group,
                            double levelTokens) const {
  using Result = FailureOr<std::optional<Targets>>;
  std::vector<unsigned> targeted;
  llvm::copy_if(layers, std::back_inserter(targeted), [&](unsigned index) {
    return run.plan().layers[index].spec.needsFloatStream();
  });
  if (targeted.empty() || group.floatInputs.empty())
    return Result(std::nullopt);
  int64_t k = group.inputs[0].cols;
  InputRows rows(group.inputs), floats(group.floatInputs),
      residuals(group.residuals), floatResiduals(group.floatResiduals);
  std::vector<std::vector<float>> rowWeights;
  std::vector<RowBlock> leveled =
      levelRows(rows.get(), k, levelTokens, rowWeights);
  std::vector<WeightValues> weights;
  std::vector<TargetLinear> linears;
  for (unsigned index : targeted) {
    const PlannedLayer &layer = run.plan().layers[index];
    FailureOr<WeightValues> weight = readWeight(layer);
    if (failed(weight))
      return failure();
    weights.push_back(std::move(*weight));
    linears.push_back({weights.back().values,
                       layer.n,
                       {floatResiduals.get(), residuals.get()},
                       layer.spec.asymmetric == Asymmetric::On
                           ? AsymmetricStrength::Whole
                           : AsymmetricStrength::Judged});
  }
  AsymmetricTargets solver({floats.get(), leveled}, k, linears);
  return Result(
      Targets{std::move(targeted), std::move(weights), std::move(solver)});
}

static LogicalResult refuseInputs(const PlannedLayer &layer, StringRef error) {
  return LinearOp(layer.linear)->emitError("inputs of layer '")
         << layer.name << "': " << error
         << " - look for overflow in the model on the calibration data";
}

LogicalResult QuantizeClient::prepare(ArrayRef<unsigned> solved,
                                      const GroupInputs &group,
                                      Shared &shared) const {
  int64_t k = shared.inputs.meanSquare.size();
  std::map<double, std::vector<unsigned>> byLevel;
  for (unsigned index : solved)
    byLevel[run.plan().layers[index].spec.levelTokens].push_back(index);
  for (const auto &[level, layers] : byLevel) {
    auto targets = makeTargets(layers, group, level);
    if (failed(targets))
      return failure();
    std::vector<float> hessian;
    if (*targets) {
      if (const std::string &error = (*targets)->solver.error(); !error.empty())
        return refuseInputs(run.plan().layers[layers[0]], error);
      hessian = (*targets)->solver.takeHessian();
      shared.targets.push_back(std::move(**targets));
    } else {
      hessian = secondMoments(group.inputs, k, level);
    }
    std::vector<FactorKey> wanted;
    for (unsigned index : layers)
      if (FactorKey key = factorKey(index, shared.inputs);
          !llvm::is_contained(wanted, key))
        wanted.push_back(key);
    for (const FactorKey &key : wanted) {
      // The last takes H over: with one set of options nothing is copied.
      bool isLast = &key == &wanted.back();
      GptqFactor factor = GptqFactor::make(
          isLast ? std::move(hessian) : hessian, k, key.options);
      if (!factor.error().empty())
        return refuseInputs(run.plan().layers[layers[0]], factor.error());
      shared.factors.emplace_back(key, std::move(factor));
    }
  }
  return success();
}

/// Why `inputs` cannot be used; empty if they can.
static std::string findDefect(const InputStatistics &inputs) {
  for (auto [column, value] : llvm::enumerate(inputs.meanSquare))
    if (!std::isfinite(value))
      return llvm::formatv("the mean square of column {0} is not finite: an "
                           "input of this layer overflowed or is nan",
                           column);
  return "";
}

LogicalResult QuantizeClient::observe(ArrayRef<unsigned> linears,
                                      const GroupInputs &group) {
  for (unsigned index : readSince)
    releaseWeight(run.plan().layers[index]);
  readSince.clear();
  if (failed(quantizeGroup(linears, group)))
    return failure();
  if (group.floatInputs.empty())
    return success();
  for (unsigned index : linears)
    if (failed(noteDrift(index, group)))
      return failure();
  readSince.assign(linears.begin(), linears.end());
  return success();
}

bool QuantizeClient::needsMoments(ArrayRef<unsigned> linears) const {
  return llvm::any_of(linears, [&](unsigned index) {
    const LayerSpec &spec = run.plan().layers[index].spec;
    return spec.method == Method::RoundToNearest &&
           spec.importance == Importance::Outputs && !run.isRecorded(index);
  });
}

LogicalResult QuantizeClient::quantizeGroup(ArrayRef<unsigned> linears,
                                            const GroupInputs &group) {
  if (llvm::all_of(linears,
                   [&](unsigned index) { return run.isRecorded(index); }))
    return success();
  Seconds start = wallSeconds();
  InputMoments moments(group.inputs[0].cols);
  forEachBatch(group.inputs,
               [&](ArrayRef<RowBlock> rows) { moments.add(rows); });
  InputStatistics statistics = {moments.liveRows(), moments.meanSquares(), {}};
  if (std::string error = findDefect(statistics); !error.empty())
    return refuseInputs(run.plan().layers[linears[0]], error);
  if (needsMoments(linears))
    statistics.hessian =
        secondMoments(group.inputs, statistics.meanSquare.size());
  std::vector<unsigned> solved = layersToSolve(linears, statistics);
  Shared shared = {std::move(statistics), {}, {}};
  if (failed(prepare(solved, group, shared)))
    return failure();
  for (unsigned index : linears) {
    if (failed(quantize(index, shared, start)))
      return failure();
    // What is shared counts for the first of those that share it.
    start = wallSeconds();
  }
  return success();
}

LogicalResult QuantizeClient::quantize(unsigned index, const Shared &shared,
                                       Seconds start) {
  const PlannedLayer &layer = run.plan().layers[index];
  const InputStatistics &inputs = shared.inputs;
  if (run.isRecorded(index))
    return success();
  if (layer.leader) {
    if (failed(quantize(*layer.leader, shared, start)))
      return failure();
    run.recordShared(index);
    return success();
  }
  if (!usesHessian(index, inputs)) {
    std::string why;
    if (inputs.isDead())
      why = "its inputs were all zero on the calibration data";
    else if (inputs.tokens < layer.spec.minTokens)
      why = llvm::formatv("{0} calibration tokens reached it (min-tokens={1})",
                          inputs.tokens, layer.spec.minTokens);
    return quantizeByRounding(run, index, inputs, why, start);
  }
  auto factor = llvm::find_if(shared.factors, [&](const auto &entry) {
    return entry.first == factorKey(index, inputs);
  });
  assert(factor != shared.factors.end() && "a factor for every member");
  std::optional<TargetWeight> target;
  for (const Targets &targets : shared.targets)
    if (auto it = llvm::find(targets.layers, index);
        it != targets.layers.end()) {
      size_t at = it - targets.layers.begin();
      target = {targets.solver.weights(at), targets.solver.strength(at)};
    }
  return quantizeByGptq(run, index, factor->second, inputs, start, target);
}

bool QuantizeClient::wantsFloatStream() const {
  return run.options().drift ||
         llvm::any_of(run.plan().layers, [](const PlannedLayer &layer) {
           return layer.spec.needsFloatStream();
         });
}

/// Rows of the inputs of a group, by which the drift of its outputs is judged.
static constexpr int64_t kDriftRows = 256;

/// About kDriftRows of `inputs` in f32, evenly spread.
static std::vector<float> pickRows(ArrayRef<MatrixRef> inputs) {
  int64_t total = 0, k = inputs[0].cols;
  for (const MatrixRef &input : inputs)
    total += input.rows;
  // Not the first of each sample: it is often like no other.
  int64_t stride = std::max<int64_t>(1, total / kDriftRows), next = stride / 2;
  std::vector<float> picked;
  for (const MatrixRef &input : inputs) {
    for (; next < input.rows; next += stride) {
      picked.resize(picked.size() + k);
      widen(input.kind,
            static_cast<const char *>(input.data) +
                next * k * byteWidth(input.kind),
            k, &picked[picked.size() - k]);
    }
    next -= input.rows;
  }
  return picked;
}

LogicalResult QuantizeClient::noteDrift(unsigned index,
                                        const GroupInputs &group) {
  const PlannedLayer &layer = run.plan().layers[index];
  std::vector<float> x = pickRows(group.inputs),
                     floatX = pickRows(group.floatInputs);
  int64_t rows = x.size() / layer.k;
  if (rows == 0)
    return success(); // an expert that no token reached
  std::vector<float> y(rows * layer.n), floatY(rows * layer.n);
  FailureOr<WeightValues> weight = readWeight(layer);
  if (failed(weight))
    return failure();
  multiply(index, {x.data(), rows, layer.k}, {y.data(), rows, layer.n});
  multiplyTransposed({floatX.data(), rows, layer.k},
                     MatrixRef{weight->values.data(), layer.n, layer.k},
                     {floatY.data(), rows, layer.n});
  RowBlock quantized = {y.data(), rows}, floats = {floatY.data(), rows};
  run.report().layers[index].outputDrift =
      relativeDrift({{&floats, 1}, {&quantized, 1}}, layer.n);
  return success();
}

void QuantizeClient::multiply(unsigned index, MatrixRef x, MutableMatrixRef y) {
  PackedMatrix weight = run.weight(index);
  multiplyTransposed(
      x,
      [&](int64_t begin, int64_t end, float *out) {
        dequantizeRows(weight, begin, end, out);
      },
      y);
}
