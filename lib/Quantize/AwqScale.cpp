//===- AwqScale.cpp - Search for the scales of AWQ ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A grid of exponents, with and without the weights' own magnitude.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Awq.h"

#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <algorithm>
#include <cmath>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

static constexpr int kSteps = 20;

/// Of a scale before it is normalised: a column that is hardly used must not
/// lose all its precision.
static constexpr double kLeastScale = 1e-4;

/// Columns that a thread takes at a time.
static constexpr int64_t kColumns = 256;

std::vector<float> quantopt::meanMagnitudes(std::span<const RowBlock> samples,
                                            int64_t k) {
  int64_t rows = 0;
  for (const RowBlock &sample : samples)
    rows += sample.rows;
  std::vector<float> result(k, 0.0f);
  int64_t blocks = (k + kColumns - 1) / kColumns;
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t begin = block * kColumns, width = std::min(kColumns, k - begin);
    double sums[kColumns] = {};
    for (const RowBlock &sample : samples)
      for (int64_t row = 0; row < sample.rows; ++row) {
        const float *x = sample.data + row * k + begin;
        for (int64_t j = 0; j < width; ++j)
          sums[j] += std::fabs(x[j]);
      }
    for (int64_t j = 0; j < width; ++j)
      result[begin + j] =
          rows > 0 ? static_cast<float>(sums[j] / static_cast<double>(rows))
                   : 0.0f;
  }
  return result;
}

namespace {

/// Some rows of one weight, and how they are rounded.
struct Sample {
  std::vector<float> values; // [n, k]
  int64_t n = 0;
  const AwqWeight *weight = nullptr;
};

/// What a candidate is measured against.
class Trial {
public:
  Trial(std::span<const AwqWeight> weights, int64_t k, const AwqInput &input,
        int64_t sampleRows);

  /// The squared output error with `scales`.
  double error(std::span<const float> scales) const;

private:
  double error(const Sample &sample, std::span<const float> scales,
               std::span<const float> importance) const;

  std::vector<Sample> samples;
  int64_t k;
  AwqInput input;
};

} // namespace

/// `count` rows of `weight`, spread evenly; all if there are no more or one
/// scale serves them all.
static Sample sampleRows(const AwqWeight &weight, int64_t k, int64_t count) {
  Sample sample;
  sample.weight = &weight;
  bool all = count == 0 || count >= weight.n ||
             weight.scheme.granularity == Granularity::Tensor;
  sample.n = all ? weight.n : count;
  sample.values.reserve(sample.n * k);
  for (int64_t i = 0; i < sample.n; ++i) {
    auto row = weight.values.subspan(i * weight.n / sample.n * k, k);
    sample.values.insert(sample.values.end(), row.begin(), row.end());
  }
  return sample;
}

Trial::Trial(std::span<const AwqWeight> weights, int64_t k,
             const AwqInput &input, int64_t rows)
    : k(k), input(input) {
  for (const AwqWeight &weight : weights)
    samples.push_back(sampleRows(weight, k, rows));
}

double Trial::error(const Sample &sample, std::span<const float> scales,
                    std::span<const float> importance) const {
  const AwqWeight &weight = *sample.weight;
  std::vector<float> values(sample.n * k);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < sample.n; ++row)
    for (int64_t column = 0; column < k; ++column)
      values[row * k + column] =
          sample.values[row * k + column] * scales[column];
  QuantizedMatrix matrix = quantizeRoundToNearest(
      values, sample.n, k, weight.scheme, weight.search, importance);
  // From here on `values` holds the difference.
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < sample.n; ++row) {
    std::span<float> out(values.data() + row * k, k);
    dequantizeRows(matrix, row, row + 1, out);
    for (int64_t column = 0; column < k; ++column)
      out[column] =
          out[column] / scales[column] - sample.values[row * k + column];
  }
  return objective(values, sample.n, k, input.hessian);
}

double Trial::error(std::span<const float> scales) const {
  std::vector<float> importance(k);
  for (int64_t column = 0; column < k; ++column)
    importance[column] =
        input.hessian[column * k + column] / (scales[column] * scales[column]);
  double sum = 0;
  for (const Sample &sample : samples)
    sum += error(sample, scales, importance);
  return sum;
}

/// The mean over all rows of |w| in units of the largest of its group, [k].
static std::vector<float> meanWeights(std::span<const AwqWeight> weights,
                                      int64_t k) {
  std::vector<double> sums(k, 0.0);
  int64_t rows = 0;
  for (const AwqWeight &weight : weights) {
    rows += weight.n;
    int64_t length = weight.scheme.groupLength(k);
    for (int64_t row = 0; row < weight.n; ++row)
      for (int64_t begin = 0; begin < k; begin += length) {
        auto group =
            weight.values.subspan(row * k + begin, std::min(length, k - begin));
        float most = 0;
        for (float value : group)
          most = std::max(most, std::fabs(value));
        if (most > 0)
          for (size_t j = 0; j < group.size(); ++j)
            sums[begin + j] += std::fabs(group[j]) / most;
      }
  }
  std::vector<float> means(k);
  for (int64_t column = 0; column < k; ++column)
    means[column] =
        static_cast<float>(sums[column] / std::max<int64_t>(rows, 1));
  return means;
}

/// The scales of one candidate. A column without input is left at 1: nothing is
/// known of it.
static std::vector<float> makeScales(std::span<const float> magnitude,
                                     std::span<const float> weights,
                                     double alpha, bool usesWeights) {
  double largest = *std::max_element(magnitude.begin(), magnitude.end());
  std::vector<double> raw(magnitude.size(), 1.0);
  double low = INFINITY, high = 0;
  for (size_t column = 0; column < magnitude.size(); ++column) {
    if (magnitude[column] == 0)
      continue;
    double value = std::pow(magnitude[column] / largest, alpha);
    if (usesWeights)
      value /= std::pow(weights[column], 1 - alpha) + kLeastScale;
    raw[column] = std::max(value, kLeastScale);
    low = std::min(low, raw[column]);
    high = std::max(high, raw[column]);
  }
  std::vector<float> scales(magnitude.size(), 1.0f);
  for (size_t column = 0; column < magnitude.size(); ++column)
    if (magnitude[column] != 0)
      scales[column] = static_cast<float>(raw[column] / std::sqrt(low * high));
  return scales;
}

static std::string findDefect(std::span<const AwqWeight> weights, int64_t k,
                              const AwqInput &input) {
  if (static_cast<int64_t>(input.magnitude.size()) != k ||
      static_cast<int64_t>(input.hessian.size()) != k * k)
    return "the input must have " + std::to_string(k) + " columns";
  for (int64_t column = 0; column < k; ++column)
    if (!std::isfinite(input.magnitude[column]) ||
        !std::isfinite(input.hessian[column * k + column]))
      return "the input is not finite at column " + std::to_string(column);
  for (const AwqWeight &weight : weights) {
    std::string error =
        roundToNearestError(weight.values, weight.n, k, weight.scheme);
    if (!error.empty())
      return error;
  }
  return {};
}

AwqScales quantopt::searchAwqScales(std::span<const AwqWeight> weights,
                                    int64_t k, const AwqInput &input,
                                    const AwqOptions &options) {
  AwqScales best;
  best.error = findDefect(weights, k, input);
  best.scales.assign(k, 1.0f);
  if (!best.error.empty() || k == 0)
    return best;
  std::vector<float> means = meanWeights(weights, k);
  Trial sampled(weights, k, input, options.sampleRows);
  const std::vector<float> ones(k, 1.0f);
  double least = sampled.error(ones);
  for (bool usesWeights : {false, true})
    for (int step = usesWeights ? 0 : 1; step < kSteps; ++step) {
      double alpha = static_cast<double>(step) / kSteps;
      std::vector<float> scales =
          makeScales(input.magnitude, means, alpha, usesWeights);
      double error = sampled.error(scales);
      if (!(error < least))
        continue;
      least = error;
      best.scales = std::move(scales);
      best.alpha = alpha;
      best.usesWeights = usesWeights;
    }
  // What was chosen on some rows must be better on all.
  Trial whole(weights, k, input, /*sampleRows=*/0);
  best.plainObjective = whole.error(ones);
  best.objective = whole.error(best.scales);
  if (!(best.objective < best.plainObjective)) {
    best.scales = ones;
    best.alpha = 0;
    best.usesWeights = false;
    best.objective = best.plainObjective;
  }
  return best;
}
