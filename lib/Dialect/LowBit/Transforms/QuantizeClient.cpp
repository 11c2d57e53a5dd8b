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

static std::vector<float> makeHessian(ArrayRef<RowBlock> rows, int64_t k,
                                      double levelTokens) {
  std::vector<RowBlock> blocks(rows.begin(), rows.end());
  std::vector<std::vector<float>> weights;
  if (levelTokens > 0)
    for (RowBlock &block : blocks)
      block.weights =
          weights.emplace_back(levelingWeights(block, k, levelTokens)).data();
  HessianAccumulator accumulator(k);
  accumulator.add(blocks);
  return accumulator.take();
}

QuantizeClient::Factors
QuantizeClient::makeFactors(ArrayRef<unsigned> linears, ArrayRef<RowBlock> rows,
                            const InputStatistics &inputs) const {
  int64_t k = inputs.meanSquare.size();
  std::vector<FactorKey> wanted;
  for (unsigned index : linears) {
    if (run.isRecorded(index) || !usesHessian(index, inputs))
      continue;
    FactorKey key = factorKey(index, inputs);
    if (!llvm::is_contained(wanted, key))
      wanted.push_back(key);
  }
  llvm::sort(wanted, [](const FactorKey &a, const FactorKey &b) {
    return a.levelTokens < b.levelTokens;
  });
  Factors factors;
  std::vector<float> hessian;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto &[level, options] = wanted[i];
    if (i == 0 || level != wanted[i - 1].levelTokens)
      hessian = makeHessian(rows, k, level);
    // The last of a level takes H over: with one set of options nothing is
    // copied.
    bool isLast = i + 1 == wanted.size() || level != wanted[i + 1].levelTokens;
    factors.emplace_back(
        wanted[i],
        GptqFactor::make(isLast ? std::move(hessian) : hessian, k, options));
  }
  return factors;
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
                                      ArrayRef<MatrixRef> inputs) {
  if (llvm::all_of(linears,
                   [&](unsigned index) { return run.isRecorded(index); }))
    return success();
  Seconds start = wallSeconds();
  int64_t k = inputs[0].cols;
  InputRows rows(inputs);
  InputStatistics statistics = {countLiveRows(rows.get(), k),
                                meanSquares(rows.get(), k)};
  auto refuse = [&](StringRef error) {
    const PlannedLayer &layer = run.plan().layers[linears[0]];
    return LinearOp(layer.linear)->emitError("inputs of layer '")
           << layer.name << "': " << error
           << " - look for overflow in the model on the calibration data";
  };
  if (std::string error = findDefect(statistics); !error.empty())
    return refuse(error);
  Factors factors = makeFactors(linears, rows.get(), statistics);
  for (const auto &[key, factor] : factors)
    if (!factor.error().empty())
      return refuse(factor.error());
  for (unsigned index : linears) {
    if (failed(quantize(index, factors, statistics, start)))
      return failure();
    // What is shared counts for the first of those that share it.
    start = wallSeconds();
  }
  return success();
}

LogicalResult QuantizeClient::quantize(unsigned index, const Factors &factors,
                                       const InputStatistics &inputs,
                                       Seconds start) {
  const PlannedLayer &layer = run.plan().layers[index];
  if (run.isRecorded(index))
    return success();
  if (layer.leader) {
    // Behind a branch the leader may not have been reached, or not yet. Its
    // spec is the same, so that what it needs is there.
    if (failed(quantize(*layer.leader, factors, inputs, start)))
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
  auto it = llvm::find_if(factors, [&](const auto &entry) {
    return entry.first == factorKey(index, inputs);
  });
  assert(it != factors.end() && "a factor for every member");
  return quantizeByGptq(run, index, it->second, inputs, start);
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
