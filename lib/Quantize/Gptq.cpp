//===- Gptq.cpp - Quantization against the Hessian of the inputs ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Checks, parameters, the solve, and the comparison with round-to-nearest.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Gptq.h"

#include "GptqSolve.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/Refine.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <algorithm>
#include <numeric>

using namespace quantopt;

namespace {

/// Codes with the error of each row.
struct Candidate {
  QuantizedMatrix matrix;
  std::vector<double> errors;

  double total() const {
    return std::accumulate(errors.begin(), errors.end(), 0.0);
  }
};

} // namespace

static std::string findDefect(std::span<const float> w, int64_t n, int64_t k,
                              const Scheme &scheme, const GptqFactor &factor,
                              const GptqOptions &options) {
  if (!factor.error().empty())
    return factor.error();
  if (factor.size() != k)
    return "the weight has " + std::to_string(k) +
           " columns, but the hessian has " + std::to_string(factor.size());
  if (options.blockSize < 1)
    return "block size must be at least 1";
  std::string error = roundToNearestError(w, n, k, scheme);
  if (error.empty() && scheme.granularity == Granularity::Flat)
    return "gptq takes groups that end with a row, but groups of " +
           std::to_string(scheme.groupSize) + " run on across rows of " +
           std::to_string(k);
  return error;
}

std::vector<float> quantopt::clearDeadColumns(std::span<const float> w,
                                              int64_t n, int64_t k,
                                              const GptqFactor &factor) {
  std::vector<float> result(w.begin(), w.end());
  for (int64_t column = 0; column < k; ++column)
    if (factor.diagonal()[column] == 0)
      for (int64_t row = 0; row < n; ++row)
        result[row * k + column] = 0;
  return result;
}

/// Takes row `row` of `from` over, codes and parameters.
static void copyRow(Candidate &to, const Candidate &from, int64_t row) {
  int64_t k = to.matrix.k;
  std::copy_n(from.matrix.codes.begin() + row * k, k,
              to.matrix.codes.begin() + row * k);
  to.errors[row] = from.errors[row];
  if (to.matrix.scheme.granularity == Granularity::Tensor)
    return;
  int64_t groups = to.matrix.scheme.numGroups(k);
  auto copyPlane = [&](auto &target, const auto &source) {
    if (!source.empty())
      std::copy_n(source.begin() + row * groups, groups,
                  target.begin() + row * groups);
  };
  copyPlane(to.matrix.scales, from.matrix.scales);
  copyPlane(to.matrix.offsets, from.matrix.offsets);
  copyPlane(to.matrix.nested.bytes, from.matrix.nested.bytes);
}

/// Whether rows of `a` and `b` can stand in one matrix: what all rows share is
/// equal.
static bool canMixRows(const QuantizedMatrix &a, const QuantizedMatrix &b) {
  if (a.scheme.granularity == Granularity::Tensor &&
      (a.scales != b.scales || a.offsets != b.offsets))
    return false;
  return a.nested.scales == b.nested.scales &&
         a.nested.offset == b.nested.offset;
}

/// Takes those rows of `other` that are better, and marks them in `kept`; all
/// rows or none where they cannot be mixed.
static void keepBetterRows(Candidate &best, Candidate &other,
                           std::vector<bool> &kept) {
  if (!canMixRows(best.matrix, other.matrix)) {
    if (!(other.total() < best.total()))
      return;
    best = other;
    kept.assign(kept.size(), true);
    return;
  }
  for (size_t row = 0; row < kept.size(); ++row) {
    if (!(other.errors[row] < best.errors[row]))
      continue;
    copyRow(best, other, row);
    kept[row] = true;
  }
}

GptqResult quantopt::quantizeGptq(std::span<const float> w, int64_t n,
                                  int64_t k, const Scheme &scheme,
                                  const GptqFactor &factor,
                                  const GptqOptions &options) {
  GptqResult result;
  result.error = findDefect(w, n, k, scheme, factor, options);
  if (!result.error.empty())
    return result;
  result.damp = factor.damp();
  result.dampAttempts = factor.attempts();
  result.deadColumns = factor.deadColumns();
  result.fallback = factor.fallback();

  std::span<const float> h = factor.hessian();
  std::vector<float> cleared;
  std::span<const float> live = w;
  if (factor.deadColumns() > 0)
    live = cleared = clearDeadColumns(w, n, k, factor);
  auto measured = [&](QuantizedMatrix matrix) {
    std::vector<double> errors = rowErrors(matrix, live, h);
    return Candidate{std::move(matrix), std::move(errors)};
  };
  Candidate plain = measured(quantizeRoundToNearest(
      live, n, k, scheme, {SearchKind::None, options.search.fullRange}));
  result.roundToNearestObjective = plain.total();
  result.reference = objective(live, n, k, h);

  GroupParameters parameters =
      fitParameters(live, n, k, scheme, options.search, factor.importance());
  bool solved = result.fallback.empty();
  Candidate best =
      measured(solved ? solveGptq(live, n, k, scheme, parameters, factor,
                                  options.blockSize)
                      : quantizeWithParameters(live, n, k, scheme, parameters));
  for (int round = 0; solved && round < options.refinements; ++round) {
    std::vector<bool> improved(n);
    for (auto *step : {sweepGroups, refitScales, sweepCodes}) {
      Candidate next = measured(step(best.matrix, live, factor));
      keepBetterRows(best, next, improved);
    }
  }
  std::vector<bool> kept(n, !solved);
  if (options.keepBetter) {
    if (solved && options.search.kind != SearchKind::None) {
      Candidate searched =
          measured(quantizeWithParameters(live, n, k, scheme, parameters));
      keepBetterRows(best, searched, kept);
    }
    keepBetterRows(best, plain, kept);
  }
  result.objective = best.total();
  result.matrix = std::move(best.matrix);
  result.roundToNearestRows = std::count(kept.begin(), kept.end(), true);
  result.keptRoundToNearest = n > 0 && result.roundToNearestRows == n;
  return result;
}
