//===- GptqTest.cpp - Tests of GPTQ ---------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against optimal brain quantization with explicit inverses, against exhaustive
// search, and over random shapes and schemes.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Gptq.h"
#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

/// The inverse of a symmetric positive definite matrix, by Gauss and Jordan.
std::vector<double> invert(std::vector<double> a, int64_t k) {
  std::vector<double> inverse(k * k, 0.0);
  for (int64_t i = 0; i < k; ++i)
    inverse[i * k + i] = 1;
  for (int64_t p = 0; p < k; ++p) {
    double pivot = a[p * k + p];
    for (int64_t j = 0; j < k; ++j) {
      a[p * k + j] /= pivot;
      inverse[p * k + j] /= pivot;
    }
    for (int64_t i = 0; i < k; ++i) {
      double factor = a[i * k + p];
      if (i == p || factor == 0)
        continue;
      for (int64_t j = 0; j < k; ++j) {
        a[i * k + j] -= factor * a[p * k + j];
        inverse[i * k + j] -= factor * inverse[p * k + j];
      }
    }
  }
  return inverse;
}

/// Optimal brain quantization of one row of `q`, columns in the given order,
/// the inverse taken down column by column. Codes go to `q`; returns false if a
/// value came too near to the border of two codes to compare codes.
bool slowObq(QuantizedMatrix &q, int64_t row, std::vector<double> w,
             std::vector<double> inverse, std::span<const int64_t> order) {
  int64_t k = q.k;
  for (int64_t c : order) {
    int best = 0;
    double nearest = 1e300, second = 1e300;
    for (int code = 0; code <= q.scheme.maxCode(); ++code) {
      double distance = std::fabs(slowValue(q, row, c, code) - w[c]);
      if (distance < nearest) {
        second = nearest;
        nearest = distance;
        best = code;
      } else if (distance < second &&
                 slowValue(q, row, c, code) != slowValue(q, row, c, best)) {
        second = distance;
      }
    }
    // With scale 0 all codes are one value, and the first stands for it.
    bool distinct = slowValue(q, row, c, 0) != slowValue(q, row, c, 1);
    if (distinct && second - nearest < 1e-3 * (second + nearest))
      return false;
    if (distinct)
      q.codes[row * k + c] = best;
    double pivot = inverse[c * k + c];
    double error = (w[c] - slowValue(q, row, c, best)) / pivot;
    std::vector<double> line(inverse.begin() + c * k,
                             inverse.begin() + (c + 1) * k);
    for (int64_t j = 0; j < k; ++j)
      w[j] -= error * line[j];
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j)
        inverse[i * k + j] -= line[i] * line[j] / pivot;
    // What rounding leaves in the column taken must not come back.
    for (int64_t i = 0; i < k; ++i)
      inverse[i * k + c] = inverse[c * k + i] = 0;
  }
  return true;
}

void compareWithObq(ActOrder order, int64_t n, int64_t k, const Scheme &scheme,
                    int64_t blockSize, unsigned seed) {
  std::vector<float> w = randomFloats(n * k, seed);
  std::vector<float> h =
      slowHessian(correlatedInputs(3 * k, k, seed + 50), 3 * k, k);
  GptqFactor factor = GptqFactor::make(h, k, {0.01, order, 4});
  ASSERT_EQ(factor.error() + factor.fallback(), "");
  // Without a search the extremes of a symmetric group lie between two codes.
  GptqOptions options{{SearchKind::LeastSquares}, blockSize, false};
  GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
  ASSERT_EQ(result.error, "");

  double mean = 0;
  for (int64_t i = 0; i < k; ++i)
    mean += h[i * k + i] / double(k);
  std::vector<double> damped(h.begin(), h.end());
  for (int64_t i = 0; i < k; ++i)
    damped[i * k + i] += 0.01 * mean;
  std::vector<double> inverse = invert(damped, k);
  QuantizedMatrix plain =
      quantizeRoundToNearest(w, n, k, scheme, {}, factor.importance());
  EXPECT_EQ(plain.scales, result.matrix.scales);
  int64_t compared = 0, moved = 0;
  QuantizedMatrix slow = plain;
  for (int64_t row = 0; row < n; ++row) {
    std::vector<double> line(w.begin() + row * k, w.begin() + (row + 1) * k);
    if (!slowObq(slow, row, line, inverse, factor.order()))
      continue;
    ++compared;
    for (int64_t j = row * k; j < (row + 1) * k; ++j) {
      // Tables may hold a value twice.
      ASSERT_EQ(slowValue(slow, row, j - row * k, slow.codes[j]),
                slowValue(slow, row, j - row * k, result.matrix.codes[j]))
          << row << " " << j;
      moved += slow.codes[j] != plain.codes[j];
    }
  }
  EXPECT_GE(compared * 2, n); // the test saw something
  if (k > 4)
    EXPECT_GT(moved, 0);
}

TEST(Gptq, EqualsOptimalBrainQuantization) {
  for (ActOrder order : {ActOrder::None, ActOrder::Static, ActOrder::Gar})
    for (const Scheme &scheme :
         allKinds(3, Granularity::Group, 4, ScaleKind::F32))
      for (int64_t k : {1, 2, 5, 12, 33})
        for (int64_t blockSize : {1, 3, 128})
          compareWithObq(order, 20, k, scheme, blockSize, 100 + k);
}

TEST(Gptq, BetweenTheBestAndRoundToNearest) {
  // All codes of a row of three 2-bit weights.
  int64_t n = 2, k = 3, better = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    Scheme scheme{2, Granularity::Channel, 1, kZeroKinds[seed % 3],
                  ScaleKind::F16};
    std::vector<float> w = randomFloats(n * k, seed);
    std::vector<float> h = slowHessian(correlatedInputs(9, k, seed), 9, k);
    GptqFactor factor = GptqFactor::make(h, k);
    GptqOptions options;
    options.search.kind = SearchKind::None;
    GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
    QuantizedMatrix q = result.matrix;
    double best = 0;
    for (int64_t row = 0; row < n; ++row) {
      double least = 1e300;
      for (int combination = 0; combination < 64; ++combination) {
        float d[3];
        for (int j = 0; j < 3; ++j)
          d[j] =
              slowValue(q, row, j, combination >> (2 * j) & 3) - w[row * k + j];
        least = std::min(least, slowForm(d, k, h));
      }
      best += least;
    }
    EXPECT_GE(result.objective, best * (1 - 1e-5));
    EXPECT_LE(result.objective, result.roundToNearestObjective);
    better += result.objective < 0.999 * result.roundToNearestObjective;
  }
  EXPECT_GT(better, 10);
}

TEST(Gptq, PaysOnCorrelatedInputs) {
  int64_t n = 96, k = 200;
  std::vector<float> w = randomFloats(n * k, 1);
  std::vector<float> h = slowHessian(correlatedInputs(600, k, 2), 600, k);
  GptqFactor factor = GptqFactor::make(h, k);
  for (ZeroKind zero : kZeroKinds) {
    Scheme scheme;
    scheme.zero = zero;
    GptqOptions options;
    options.keepBetter = false;
    options.search.kind = SearchKind::None;
    GptqResult plain = quantizeGptq(w, n, k, scheme, factor, options);
    EXPECT_LT(plain.objective, 0.6 * plain.roundToNearestObjective);
    options.search.kind = SearchKind::LeastSquares;
    GptqResult searched = quantizeGptq(w, n, k, scheme, factor, options);
    EXPECT_LT(searched.objective, 0.9 * plain.objective);
    EXPECT_FALSE(searched.keptRoundToNearest);
    EXPECT_NEAR(searched.reference, objective(w, n, k, h), 1e-9);
    EXPECT_GT(searched.relativeError(), 0.0);
  }
}

TEST(Gptq, NeverWorseThanRoundToNearest) {
  std::mt19937 engine(5);
  const int64_t sizes[] = {1, 2, 15, 16, 31, 64, 100, 129};
  for (int trial = 0; trial < 300; ++trial) {
    Scheme scheme = randomScheme(engine);
    int64_t n = sizes[engine() % 8], k = sizes[engine() % 8];
    int64_t rows = 1 + engine() % (2 * k);
    std::vector<float> w = randomFloats(n * k, trial);
    std::vector<float> h =
        slowHessian(correlatedInputs(rows, k, trial), rows, k);
    GptqFactorOptions factorOptions;
    factorOptions.order = static_cast<ActOrder>(engine() % 3);
    factorOptions.groupLength = scheme.groupLength(k);
    factorOptions.damp = engine() % 2 ? 0.01 : 0.0;
    GptqFactor factor = GptqFactor::make(h, k, factorOptions);
    ASSERT_EQ(factor.error(), "");
    GptqOptions options;
    options.search.kind = static_cast<SearchKind>(engine() % 3);
    options.search.fullRange = engine() % 2;
    options.blockSize = 1 + engine() % 130;
    GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(verify(result.matrix), "");
    ASSERT_LE(result.objective, result.roundToNearestObjective) << trial;

    // The figures are those of the matrices.
    std::vector<float> d = dequantized(result.matrix);
    for (size_t i = 0; i < d.size(); ++i)
      d[i] -= w[i];
    double slow = 0, magnitude = 0;
    for (int64_t row = 0; row < n; ++row)
      slow += slowForm(d.data() + row * k, k, h);
    for (float value : d)
      magnitude += value * value;
    double trace = 0;
    for (int64_t i = 0; i < k; ++i)
      trace += h[i * k + i];
    ASSERT_NEAR(result.objective, slow, 1e-4 * slow + 1e-6 * trace * magnitude);
    QuantizedMatrix plain = quantizeRoundToNearest(
        w, n, k, scheme, {SearchKind::None, options.search.fullRange});
    double plainError = 0;
    for (double error : rowErrors(plain, w, h))
      plainError += error;
    ASSERT_DOUBLE_EQ(result.roundToNearestObjective, plainError);
    double searchedError = 0;
    for (double error :
         rowErrors(quantizeRoundToNearest(w, n, k, scheme, options.search,
                                          factor.importance()),
                   w, h))
      searchedError += error;
    ASSERT_LE(result.objective, searchedError * (1 + 1e-12));
  }
}

TEST(Gptq, DeadColumns) {
  int64_t n = 10, k = 40, rows = 100;
  std::vector<float> x = correlatedInputs(rows, k, 1);
  for (int64_t i = 0; i < rows; ++i)
    x[i * k + 3] = x[i * k + 39] = 0;
  std::vector<float> w = randomFloats(n * k, 2), cleared = w;
  for (int64_t i = 0; i < n; ++i) {
    w[i * k + 3] = 1000; // would ruin its group
    cleared[i * k + 3] = cleared[i * k + 39] = 0;
  }
  GptqFactor factor = GptqFactor::make(slowHessian(x, rows, k), k);
  EXPECT_EQ(factor.deadColumns(), 2);
  EXPECT_EQ(factor.attempts(), 1);
  for (ZeroKind zero : kZeroKinds) {
    Scheme scheme{4, Granularity::Group, 16, zero, ScaleKind::F16};
    GptqResult result = quantizeGptq(w, n, k, scheme, factor);
    ASSERT_EQ(result.error, "");
    EXPECT_EQ(result.deadColumns, 2);
    EXPECT_LT(result.relativeError(), 0.02);
    EXPECT_TRUE(sameBytes(result.matrix,
                          quantizeGptq(cleared, n, k, scheme, factor).matrix));
    if (zero == ZeroKind::Minimum)
      continue;
    std::vector<float> out = dequantized(result.matrix);
    for (int64_t i = 0; i < n; ++i)
      EXPECT_EQ(out[i * k + 3], 0.0f);
  }
}

TEST(Gptq, NoSampleAtAll) {
  std::vector<float> w = randomFloats(5 * 20, 2);
  GptqFactor factor = GptqFactor::make(std::vector<float>(400, 0.0f), 20);
  EXPECT_EQ(factor.deadColumns(), 20);
  GptqResult result = quantizeGptq(w, 5, 20, {}, factor);
  ASSERT_EQ(result.error, "");
  EXPECT_EQ(result.objective, 0.0);
  EXPECT_EQ(result.relativeError(), 0.0);
}

TEST(Gptq, RefusesWhatIsNotFinite) {
  int64_t k = 6;
  std::vector<float> h = slowHessian(randomFloats(30 * k, 5), 30, k);
  std::vector<float> w = randomFloats(4 * k, 3);
  GptqFactor good = GptqFactor::make(h, k);
  w[2 * k + 5] = std::nanf("");
  EXPECT_NE(quantizeGptq(w, 4, k, {}, good).error.find("row 2 column 5"),
            std::string::npos);
  w[2 * k + 5] = 0;
  EXPECT_EQ(quantizeGptq(w, 4, k, {}, good).error, "");
  EXPECT_NE(quantizeGptq(w, 3, 8, {}, good).error, "");
  EXPECT_NE(quantizeGptq(w, 4, k, {}, good, {{}, 0}).error, "");
  h[9] = std::numeric_limits<float>::infinity();
  GptqFactor bad = GptqFactor::make(h, k);
  EXPECT_NE(bad.error().find("row 1 column 3"), std::string::npos);
  EXPECT_EQ(quantizeGptq(w, 4, k, {}, bad).error, bad.error());
  h[9] = 0;
  h[7] = -1;
  EXPECT_NE(GptqFactor::make(h, k).error(), "");
  h.pop_back();
  EXPECT_NE(GptqFactor::make(h, k).error(), "");
  EXPECT_NE(GptqFactor::make({}, 0).error(), "");
}

TEST(Gptq, ThreadsDoNotCount) {
  int64_t n = 300, k = 290;
  std::vector<float> w = randomFloats(n * k, 1);
  std::vector<float> h = slowHessian(correlatedInputs(400, k, 2), 400, k);
  for (ZeroKind zero : kZeroKinds) {
    Scheme scheme;
    scheme.zero = zero;
    GptqResult one;
    for (int threads = 1; threads <= 4; ++threads) {
      omp_set_num_threads(threads);
      GptqResult result = quantizeGptq(w, n, k, scheme, GptqFactor::make(h, k));
      if (threads == 1)
        one = result;
      EXPECT_TRUE(sameBytes(one.matrix, result.matrix)) << threads;
      EXPECT_EQ(one.objective, result.objective);
      EXPECT_EQ(one.reference, result.reference);
    }
  }
}

TEST(Gptq, NestedScales) {
  std::mt19937 engine(9);
  for (int trial = 0; trial < 60; ++trial) {
    Scheme scheme;
    do
      scheme = anyScheme(engine);
    while (scheme.nesting == Nesting::None ||
           scheme.granularity == Granularity::Flat);
    int64_t n = 1 + engine() % 40, k = 1 + engine() % 90;
    std::vector<float> w = randomFloats(n * k, trial);
    GptqFactor factor = GptqFactor::make(
        slowHessian(correlatedInputs(2 * k, k, trial), 2 * k, k), k);
    GptqOptions options;
    options.refinements = trial % 2;
    GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(verify(result.matrix), "") << trial;
    ASSERT_LE(result.objective, result.roundToNearestObjective) << trial;
  }
}

TEST(Gptq, RefusesGroupsAcrossRows) {
  Scheme scheme;
  scheme.granularity = Granularity::Flat;
  scheme.groupSize = 32;
  std::vector<float> w = randomFloats(6 * 48, 1);
  GptqFactor factor =
      GptqFactor::make(slowHessian(correlatedInputs(99, 48, 2), 99, 48), 48);
  EXPECT_NE(quantizeGptq(w, 6, 48, scheme, factor).error.find("across rows"),
            std::string::npos);
}

} // namespace
