//===- RefineTest.cpp - Tests of the steps after GPTQ ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against slow coordinate descent, and against disturbed scales.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Refine.h"
#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

struct Problem {
  Problem(int64_t n, int64_t k, unsigned seed)
      : n(n), k(k), w(randomFloats(n * k, seed)),
        h(slowHessian(correlatedInputs(3 * k, k, seed + 7), 3 * k, k)),
        factor(GptqFactor::make(h, k)), damped(factor.dampedHessian(false)) {}

  int64_t n, k;
  std::vector<float> w, h;
  GptqFactor factor;
  std::vector<float> damped;

  double dampedError(const QuantizedMatrix &q, int64_t row) const {
    std::vector<float> d = dequantized(q);
    for (size_t i = 0; i < d.size(); ++i)
      d[i] -= w[i];
    return slowForm(d.data() + row * k, k, damped);
  }
};

TEST(Refine, DampedHessian) {
  Problem p(1, 9, 3);
  std::vector<float> ordered = p.factor.dampedHessian(true);
  double mean = 0;
  for (int64_t i = 0; i < 9; ++i)
    mean += p.h[i * 10] / 9.0;
  EXPECT_NEAR(p.factor.scale(), mean, 1e-6 * mean);
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t j = 0; j < 9; ++j) {
      EXPECT_NEAR(p.damped[i * 9 + j],
                  p.h[i * 9 + j] / mean + (i == j ? 0.01 : 0), 1e-5);
      EXPECT_EQ(ordered[i * 9 + j],
                p.damped[p.factor.order()[i] * 9 + p.factor.order()[j]]);
    }
}

/// One sweep over a row, gradients taken anew for every column. False if a
/// value came near to the border of two codes.
bool slowSweep(const Problem &p, QuantizedMatrix &q, int64_t row) {
  for (int64_t c : p.factor.order()) {
    double gradient = 0, pivot = p.damped[c * p.k + c];
    for (int64_t j = 0; j < p.k; ++j)
      gradient += (double(slowValue(q, row, j, q.codes[row * p.k + j])) -
                   p.w[row * p.k + j]) *
                  p.damped[c * p.k + j];
    double target =
        slowValue(q, row, c, q.codes[row * p.k + c]) - gradient / pivot;
    double nearest = 1e300, second = 1e300;
    int best = 0;
    for (int code = 0; code <= q.scheme.maxCode(); ++code) {
      double distance = std::fabs(slowValue(q, row, c, code) - target);
      if (distance < nearest) {
        second = nearest;
        nearest = distance;
        best = code;
      } else {
        second = std::min(second, distance);
      }
    }
    if (second - nearest < 1e-3 * (second + nearest))
      return false;
    q.codes[row * p.k + c] = best;
  }
  return true;
}

TEST(Refine, SweepEqualsSlowCoordinateDescent) {
  for (ZeroKind zero : kZeroKinds)
    for (int64_t k : {1, 6, 40, 130}) {
      Problem p(20, k, 10 + k);
      Scheme scheme{3, Granularity::Channel, 1, zero, FloatKind::F32};
      if (k == 1 && zero == ZeroKind::Minimum)
        continue; // one value: any code stands for it
      QuantizedMatrix start = quantizeRoundToNearest(p.w, p.n, k, scheme, {});
      QuantizedMatrix swept = sweepCodes(start, p.w, p.factor), slow = start;
      EXPECT_EQ(swept.scales, start.scales);
      int64_t compared = 0, moved = 0;
      for (int64_t row = 0; row < p.n; ++row) {
        if (!slowSweep(p, slow, row))
          continue;
        ++compared;
        for (int64_t j = row * k; j < (row + 1) * k; ++j) {
          ASSERT_EQ(swept.codes[j], slow.codes[j]) << k << " " << j;
          moved += swept.codes[j] != start.codes[j];
        }
        EXPECT_LE(p.dampedError(swept, row),
                  p.dampedError(start, row) * (1 + 1e-5) + 1e-9);
      }
      EXPECT_GE(compared * 2, p.n);
      if (k > 1)
        EXPECT_GT(moved, 0);
    }
}

TEST(Refine, ScalesAreAtTheMinimum) {
  for (ZeroKind zero : kZeroKinds) {
    Problem p(6, 50, 4);
    Scheme scheme{4, Granularity::Group, 16, zero, FloatKind::F32};
    QuantizedMatrix start =
        quantizeRoundToNearest(p.w, p.n, p.k, scheme, {SearchKind::None});
    QuantizedMatrix fitted = refitScales(start, p.w, p.factor);
    EXPECT_EQ(verify(fitted), "");
    EXPECT_EQ(fitted.codes, start.codes);
    EXPECT_NE(fitted.scales, start.scales);
    if (zero == ZeroKind::Integer)
      EXPECT_EQ(fitted.offsets, start.offsets);
    for (int64_t row = 0; row < p.n; ++row) {
      double least = p.dampedError(fitted, row);
      EXPECT_LT(least, 0.999 * p.dampedError(start, row));
      for (int64_t i = row * 4; i < (row + 1) * 4; ++i)
        for (float factor : {0.99f, 1.01f}) {
          QuantizedMatrix disturbed = fitted;
          disturbed.scales[i] *= factor;
          EXPECT_GT(p.dampedError(disturbed, row), least);
          if (zero != ZeroKind::Minimum)
            continue;
          disturbed = fitted;
          disturbed.offsets[i] *= factor;
          EXPECT_GT(p.dampedError(disturbed, row), least);
        }
    }
  }
}

TEST(Refine, PaysAfterGptq) {
  Problem p(64, 160, 5);
  for (ZeroKind zero : kZeroKinds) {
    Scheme scheme;
    scheme.zero = zero;
    GptqOptions options;
    double before =
        quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options).objective;
    double last = before;
    for (int rounds = 1; rounds <= 2; ++rounds) {
      options.refinements = rounds;
      GptqResult result =
          quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
      EXPECT_EQ(verify(result.matrix), "");
      EXPECT_LT(result.objective, last);
      last = result.objective;
    }
    EXPECT_LT(last, 0.985 * before);
  }
}

TEST(Refine, OddShapesAndDeadColumns) {
  std::mt19937 engine(6);
  const int64_t sizes[] = {1, 2, 15, 16, 31, 64, 100, 129};
  for (int trial = 0; trial < 200; ++trial) {
    Scheme scheme = randomScheme(engine);
    int64_t n = sizes[engine() % 8], k = sizes[engine() % 8];
    std::vector<float> x = correlatedInputs(2 * k, k, trial);
    for (int64_t i = 0; i < 2 * k; ++i)
      x[i * k + k / 2] = 0;
    std::vector<float> w = randomFloats(n * k, trial);
    for (int64_t j = 0; j < std::min<int64_t>(k, 20); ++j)
      w[j] = trial % 3; // groups of zeros and of one value
    GptqFactor factor = GptqFactor::make(slowHessian(x, 2 * k, k), k);
    GptqOptions options;
    options.refinements = 2;
    options.search.fullRange = trial % 2;
    GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(verify(result.matrix), "") << trial;
    ASSERT_LE(result.objective, result.roundToNearestObjective);
    options.refinements = 0;
    ASSERT_LE(result.objective,
              quantizeGptq(w, n, k, scheme, factor, options).objective);
  }
}

TEST(Refine, ThreadsDoNotCount) {
  Problem p(200, 130, 8);
  Scheme scheme;
  scheme.zero = ZeroKind::Minimum;
  GptqOptions options;
  options.refinements = 1;
  omp_set_num_threads(1);
  GptqResult one = quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
  for (int threads = 2; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    GptqResult other = quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
    EXPECT_TRUE(sameBytes(one.matrix, other.matrix));
    EXPECT_EQ(one.objective, other.objective);
  }
}

} // namespace
