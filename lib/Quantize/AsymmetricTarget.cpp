//===- AsymmetricTarget.cpp - Weights that make up for drift --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Moments by tiles through float products, the solve by rows in f64.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/AsymmetricTarget.h"

#include "Blas.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/Scheme.h"

#include <algorithm>
#include <numeric>

using namespace quantopt;

static constexpr int64_t kTile = 256;
static constexpr int64_t kRowBlock = 64;

//===----------------------------------------------------------------------===//
// Moments
//===----------------------------------------------------------------------===//

double quantopt::relativeDrift(const StreamRows &values, int64_t columns) {
  std::vector<double> drifts(values.floats.size()), sizes(drifts.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t sample = 0; sample < drifts.size(); ++sample)
    for (int64_t i = 0; i < values.floats[sample].rows * columns; ++i) {
      double value = values.floats[sample].data[i];
      double drift = values.quantized[sample].data[i] - value;
      drifts[sample] += drift * drift;
      sizes[sample] += value * value;
    }
  double drift = std::accumulate(drifts.begin(), drifts.end(), 0.0);
  return drift == 0 ? 0
                    : drift / std::accumulate(sizes.begin(), sizes.end(), 0.0);
}

DriftAccumulator::DriftAccumulator(int64_t m, int64_t k)
    : m(m), k(k), sum(m * k, 0.0f) {}

void DriftAccumulator::add(const StreamRows &values,
                           std::span<const RowBlock> inputs) {
  useSingleThreadedBlas();
  int64_t down = (m + kTile - 1) / kTile, across = (k + kTile - 1) / kTile;
  std::vector<float> drift;
  for (size_t sample = 0; sample < inputs.size(); ++sample) {
    int64_t rows = inputs[sample].rows;
    if (rows == 0)
      continue; // may have no data to point into
    const float *floats = values.floats[sample].data;
    const float *quantized = values.quantized[sample].data;
    const float *weights = inputs[sample].weights;
    numRows += rows;
    // One sample at a time: the differences of all would take as much memory
    // as a stream.
    drift.resize(rows * m);
#pragma omp parallel
    {
#pragma omp for schedule(static)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = row * m; i < (row + 1) * m; ++i)
          drift[i] =
              (floats[i] - quantized[i]) * (weights ? weights[row] : 1.0f);
#pragma omp for schedule(dynamic, 1)
      for (int64_t tile = 0; tile < down * across; ++tile) {
        int64_t row = tile / across * kTile, column = tile % across * kTile;
        multiplyTransposed(
            std::min(kTile, m - row), std::min(kTile, k - column), rows, 1.0f,
            {drift.data() + row, m}, {inputs[sample].data + column, k}, 1.0f,
            sum.data() + row * k + column, k);
      }
    }
  }
}

std::vector<float> DriftAccumulator::finish() const {
  std::vector<float> mean(sum.size());
  double unit = numRows > 0 ? 1.0 / static_cast<double>(numRows) : 0.0;
  for (size_t i = 0; i < sum.size(); ++i)
    mean[i] = static_cast<float>(sum[i] * unit);
  return mean;
}

//===----------------------------------------------------------------------===//
// The step
//===----------------------------------------------------------------------===//

/// The Cholesky factor of H + ridge; empty if there is none.
static std::vector<double> factorise(const std::vector<float> &hessian,
                                     int64_t k) {
  std::vector<double> factor(hessian.begin(), hessian.end());
  double sum = 0;
  int64_t live = 0;
  for (int64_t i = 0; i < k; ++i) {
    sum += factor[i * k + i];
    live += factor[i * k + i] != 0;
  }
  for (int64_t i = 0; i < k; ++i)
    factor[i * k + i] +=
        AsymmetricTargets::kRidge * sum / std::max<int64_t>(live, 1);
  if (!choleskyLower(factor.data(), k, k))
    factor.clear();
  return factor;
}

/// W D + R for rows of W and R, [rows, k]; R may be null.
static std::vector<float> missing(const float *w, const float *residualDrift,
                                  int64_t rows, int64_t k,
                                  const std::vector<float> &drift) {
  std::vector<float> result(rows * k, 0.0f);
  if (residualDrift)
    std::copy_n(residualDrift, rows * k, result.begin());
  multiply(rows, k, k, 1.0f, {w, k}, {drift.data(), k}, 1.0f, result.data(), k);
  return result;
}

std::vector<float> AsymmetricTargets::weights(size_t index) const {
  useSingleThreadedBlas();
  const Linear &linear = linears[index];
  std::span<const float> w = linear.given.w;
  std::vector<float> result(w.begin(), w.end());
  if (linear.strength == 0)
    return result;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t first = 0; first < linear.given.n; first += kRowBlock) {
    int64_t rows = std::min(kRowBlock, linear.given.n - first), at = first * k;
    const std::vector<float> &r = linear.residualDrift;
    std::vector<float> asked = missing(
        w.data() + at, r.empty() ? nullptr : r.data() + at, rows, k, drift);
    std::vector<double> step(asked.begin(), asked.end());
    solveCholesky(factor.data(), k, step.data(), rows);
    for (int64_t i = 0; i < rows * k; ++i)
      result[at + i] =
          static_cast<float>(w[at + i] + linear.strength * step[i]);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Its strength
//===----------------------------------------------------------------------===//

/// A trial step of one linear, made on the first half of the samples.
class AsymmetricTargets::Judge {
public:
  Judge(const TargetLinear &linear, int64_t k)
      : k(k), n(linear.n), rows(std::min(linear.n, kJudgedRows)),
        w(gather(linear.w.data())) {}

  /// Makes the step from the moments of the first half.
  void tryOut(const std::vector<float> &hessian,
              const std::vector<float> &drift,
              const std::vector<float> &residualDrift,
              const std::vector<double> &factor) {
    std::vector<float> asked = missing(drift, residualDrift);
    std::vector<double> solved(asked.begin(), asked.end());
    solveCholesky(factor.data(), k, solved.data(), rows);
    step.assign(solved.begin(), solved.end());
    gained = product(asked);
    moved = objective(step, rows, k, hessian);
  }

  /// The strength for all samples, of which `part` made the step, from the
  /// moments of all.
  double strength(const std::vector<float> &hessian,
                  const std::vector<float> &drift,
                  const std::vector<float> &residualDrift, double part) const {
    // What the second half says is what all say less the first.
    double gain = product(missing(drift, residualDrift)) - part * gained;
    double move = objective(step, rows, k, hessian) - part * moved;
    double best = std::clamp(gain / move, 0.0, 1.0);
    if (!(gain > 0) || !(move > 0))
      return 0;
    // best = signal / (signal + noise); on all samples noise is `part` of it.
    return best / (best + part * (1 - best));
  }

private:
  std::vector<float> gather(const float *matrix) const {
    std::vector<float> result(rows * k);
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(matrix + i * n / rows * k, k, result.begin() + i * k);
    return result;
  }
  std::vector<float> missing(const std::vector<float> &drift,
                             const std::vector<float> &residualDrift) const {
    std::vector<float> r;
    if (!residualDrift.empty())
      r = gather(residualDrift.data());
    return ::missing(w.data(), r.empty() ? nullptr : r.data(), rows, k, drift);
  }
  /// <step, other>
  double product(const std::vector<float> &other) const {
    double sum = 0;
    for (size_t i = 0; i < step.size(); ++i)
      sum += static_cast<double>(step[i]) * other[i];
    return sum;
  }

  int64_t k, n, rows;
  std::vector<float> w, step; // [rows, k]
  double gained = 0, moved = 0;
};

static bool isJudged(const TargetLinear &linear) {
  return linear.strength == AsymmetricStrength::Judged;
}

//===----------------------------------------------------------------------===//
// All together
//===----------------------------------------------------------------------===//

AsymmetricTargets::AsymmetricTargets(const StreamRows &inputs, int64_t k,
                                     std::span<const TargetLinear> given)
    : k(k) {
  useSingleThreadedBlas();
  HessianAccumulator moments(k);
  DriftAccumulator inputDrift(k, k);
  std::vector<DriftAccumulator> residualDrifts;
  for (const TargetLinear &linear : given)
    residualDrifts.emplace_back(linear.residual.floats.empty() ? 0 : linear.n,
                                k);
  auto add = [&](size_t begin, size_t end) {
    auto cut = [&](std::span<const RowBlock> all) {
      return all.subspan(begin, end - begin);
    };
    std::span<const RowBlock> rows = cut(inputs.quantized);
    moments.add(rows);
    inputDrift.add({cut(inputs.floats), rows}, rows);
    for (size_t i = 0; i < given.size(); ++i)
      if (const StreamRows &h = given[i].residual; !h.floats.empty())
        residualDrifts[i].add({cut(h.floats), cut(h.quantized)}, rows);
  };

  size_t count = inputs.quantized.size();
  add(0, count / 2);
  int64_t firstRows = moments.rows();
  std::vector<Judge> judges;
  bool judged = std::any_of(given.begin(), given.end(), isJudged);
  if (judged && firstRows > 0) {
    hessian = moments.finish();
    drift = inputDrift.finish();
    factor = factorise(hessian, k);
    for (size_t i = 0; i < given.size() && !factor.empty(); ++i) {
      judges.emplace_back(given[i], k);
      judges[i].tryOut(hessian, drift, residualDrifts[i].finish(), factor);
    }
    factor.clear();
  }
  add(count / 2, count);
  double part = static_cast<double>(firstRows) / moments.rows();
  hessian = moments.take();
  drift = inputDrift.finish();
  bool finite = findNonFinite(drift, k, k).empty(), anyStep = false;
  for (size_t i = 0; i < given.size(); ++i) {
    Linear linear = {given[i], residualDrifts[i].finish(), 1};
    const std::vector<float> &r = linear.residualDrift;
    finite = finite && findNonFinite(r, r.size() / k, k).empty();
    if (isJudged(given[i]))
      linear.strength =
          judges.empty() ? 0 : judges[i].strength(hessian, drift, r, part);
    anyStep |= linear.strength > 0;
    linears.push_back(std::move(linear));
  }
  if (!finite)
    errorText = "it is not finite in the float model";
  else if (anyStep)
    factor = factorise(hessian, k);
  if (factor.empty())
    for (Linear &linear : linears)
      linear.strength = 0;
}
