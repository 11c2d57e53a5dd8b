//===- SearchTest.cpp - Tests of round-to-nearest and the search ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Codes are the nearest ones, a search pays, and odd data gives finite answers.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <limits>
#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

const SearchKind kSearchKinds[] = {SearchKind::None, SearchKind::LeastSquares,
                                   SearchKind::Grid};

std::vector<float> randomImportance(int64_t k, unsigned seed) {
  std::vector<float> importance = randomFloats(k, seed, 1.5f);
  for (float &value : importance)
    value = std::exp(value);
  return importance;
}

TEST(RoundToNearest, EveryCodeIsTheNearest) {
  std::mt19937 engine(2);
  for (int trial = 0; trial < 400; ++trial) {
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 3, k = 1 + engine() % 40;
    SearchOptions options{kSearchKinds[trial % 3], trial % 2 == 0};
    // What bitsandbytes does chooses codes before it rounds scales.
    if (scheme.nesting == Nesting::Dynamic)
      options.kind = SearchKind::LeastSquares;
    std::vector<float> w = randomFloats(n * k, trial);
    QuantizedMatrix q = quantizeRoundToNearest(w, n, k, scheme, options);
    ASSERT_EQ(verify(q), "");
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) {
        float value = w[i * k + j];
        double chosen =
            std::fabs(double(slowValue(q, i, j, q.codes[i * k + j])) - value);
        for (int code = 0; code <= scheme.maxCode(); ++code)
          ASSERT_LE(chosen,
                    std::fabs(double(slowValue(q, i, j, code)) - value) +
                        1e-6 * (1 + std::fabs(value)));
      }
  }
}

/// The error of columns [begin, end) of row `row`: e H e^T, of the diagonal
/// alone if `hessian` is empty.
double groupError(const QuantizedMatrix &q, std::span<const float> w,
                  int64_t row, int64_t begin, int64_t end,
                  std::span<const float> importance,
                  std::span<const float> hessian) {
  int64_t k = q.k;
  auto error = [&](int64_t j) {
    return double(slowValue(q, row, j, q.codes[row * k + j])) - w[row * k + j];
  };
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    sum += hessian.empty() ? importance[i] * error(i) * error(i) : 0;
    for (int64_t j = begin; j < end && !hessian.empty(); ++j)
      sum += error(i) * hessian[i * k + j] * error(j);
  }
  return sum;
}

TEST(Search, ClipTakesTheBestCutOfEachGroup) {
  std::mt19937 engine(12);
  int cut = 0;
  for (int trial = 0; trial < 300; ++trial) {
    Scheme scheme = anyScheme(engine);
    if (scheme.nesting != Nesting::None ||
        scheme.granularity == Granularity::Tensor ||
        scheme.granularity == Granularity::Flat)
      continue;
    int64_t n = 2, k = 1 + engine() % 40, rows = 60;
    std::vector<float> w = randomFloats(n * k, trial);
    for (float &value : w)
      value *= value * value; // a few far larger than the others
    bool outputs = trial % 2;
    std::vector<float> x = randomFloats(rows * k, 1000 + trial);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 1; j < k; ++j)
        x[i * k + j] += x[i * k + j - 1]; // columns that hang together
    std::vector<float> hessian(k * k, 0.0f), importance(k);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j)
        for (int64_t row = 0; row < rows; ++row)
          hessian[i * k + j] += x[row * k + i] * x[row * k + j] / rows;
    for (int64_t i = 0; i < k; ++i)
      importance[i] = hessian[i * k + i];
    if (!outputs)
      hessian.clear();

    bool fullRange = trial % 3 == 0;
    auto found = quantizeRoundToNearest(
        w, n, k, scheme, {SearchKind::Clip, fullRange}, importance, hessian);
    ASSERT_EQ(verify(found), "");
    int64_t length = scheme.groupLength(k);
    for (int64_t begin = 0; begin < k; begin += length)
      for (int64_t row = 0; row < n; ++row) {
        int64_t end = std::min(k, begin + length);
        float most = 0;
        for (int64_t j = begin; j < end; ++j)
          most = std::max(most, std::fabs(w[row * k + j]));
        double best = std::numeric_limits<double>::infinity(), whole = 0;
        for (int step = 0; step < 10; ++step) {
          std::vector<float> clipped = w;
          float limit = most * static_cast<float>(1 - step * 0.05);
          for (int64_t j = begin; j < end; ++j)
            clipped[row * k + j] =
                std::clamp(clipped[row * k + j], -limit, limit);
          auto q = quantizeWithParameters(
              w, n, k, scheme,
              fitParameters(clipped, n, k, scheme,
                            {SearchKind::None, fullRange}));
          double error = groupError(q, w, row, begin, end, importance, hessian);
          best = std::min(best, error);
          whole = step == 0 ? error : whole;
        }
        double error =
            groupError(found, w, row, begin, end, importance, hessian);
        EXPECT_NEAR(error, best, 1e-4 * best + 1e-9) << "trial " << trial;
        cut += best < 0.99 * whole;
      }
  }
  EXPECT_GT(cut, 50); // or the test says nothing
}

TEST(RoundToNearest, ParametersWithoutSearch) {
  Scheme scheme;
  scheme.scaleType = ScaleKind::F32;
  std::vector<float> w = {-1.0f, 0.5f, 2.0f, 0.25f};
  auto q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_FLOAT_EQ(q.scales[0], 3.0f / 15);
  EXPECT_EQ(q.offsets[0], 5.0f);
  scheme.zero = ZeroKind::Symmetric;
  q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_FLOAT_EQ(q.scales[0], 4.0f / 15);
  q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None, true});
  EXPECT_FLOAT_EQ(q.scales[0], -2.0f / 8); // 2 becomes code -8
  EXPECT_EQ(q.codes[2], 0);
  scheme.zero = ZeroKind::Minimum;
  q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_FLOAT_EQ(q.scales[0], 3.0f / 15);
  EXPECT_EQ(q.offsets[0], -1.0f);
  // All above 0: an integer zero widens the range, a minimum does not.
  w = {1.0f, 1.5f, 2.0f, 4.0f};
  q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_FLOAT_EQ(q.scales[0], 3.0f / 15);
  EXPECT_EQ(q.offsets[0], 1.0f);
  scheme.zero = ZeroKind::Integer;
  q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_FLOAT_EQ(q.scales[0], 4.0f / 15);
  EXPECT_EQ(q.offsets[0], 0.0f);
}

TEST(Search, NeverWorseThanNone) {
  std::mt19937 engine(3);
  for (int trial = 0; trial < 600; ++trial) {
    Scheme scheme = randomScheme(engine);
    int64_t n = 1 + engine() % 4, k = 1 + engine() % 100;
    float mean = trial % 5 == 0 ? 3.0f : 0.0f;
    std::vector<float> w = randomFloats(n * k, trial, 1.0f, mean);
    std::vector<float> importance;
    if (trial % 2)
      importance = randomImportance(k, trial);
    bool fullRange = trial % 3 == 0;
    auto error = [&](SearchKind kind) {
      return weightedError(quantizeRoundToNearest(
                               w, n, k, scheme, {kind, fullRange}, importance),
                           w, importance);
    };
    double none = error(SearchKind::None), slack = 1e-5 * none + 1e-9;
    ASSERT_LE(error(SearchKind::LeastSquares), none + slack) << trial;
    ASSERT_LE(error(SearchKind::Grid), none + slack) << trial;
  }
}

/// Weighted error of the best scale among many, codes chosen for each.
double bestOfManyScales(const std::vector<float> &w,
                        const std::vector<float> &importance, float most) {
  double best = std::numeric_limits<double>::infinity();
  for (int step = 0; step < 2000; ++step) {
    double scale = most / 7.5 * (0.3 + step * 0.0005), error = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      double code = std::clamp(std::nearbyint(w[i] / scale), -8.0, 7.0);
      double difference = code * scale - w[i];
      error += importance[i] * difference * difference;
    }
    best = std::min(best, error);
  }
  return best;
}

TEST(Search, IsCloseToTheBestScale) {
  Scheme scheme;
  scheme.zero = ZeroKind::Symmetric;
  scheme.scaleType = ScaleKind::F32;
  double found = 0, best = 0, none = 0;
  for (unsigned trial = 0; trial < 100; ++trial) {
    std::vector<float> w = randomFloats(64, trial);
    std::vector<float> importance = randomImportance(64, trial + 1000);
    float most = 0;
    for (float value : w)
      most = std::max(most, std::fabs(value));
    best += bestOfManyScales(w, importance, most);
    found += weightedError(quantizeRoundToNearest(w, 1, 64, scheme,
                                                  {SearchKind::LeastSquares},
                                                  importance),
                           w, importance);
    none += weightedError(quantizeRoundToNearest(
                              w, 1, 64, scheme, {SearchKind::None}, importance),
                          w, importance);
  }
  EXPECT_LT(found, 1.1 * best);
  EXPECT_LT(best, 0.9 * none);
}

TEST(Search, GridBeatsLeastSquaresAndImportanceCounts) {
  Scheme scheme;
  scheme.zero = ZeroKind::Minimum;
  int64_t n = 64, k = 256;
  std::vector<float> w = randomFloats(n * k, 1);
  std::vector<float> importance = randomImportance(k, 2);
  auto error = [&](SearchKind kind, bool weighted) {
    std::span<const float> used = weighted ? std::span<const float>(importance)
                                           : std::span<const float>();
    return weightedError(quantizeRoundToNearest(w, n, k, scheme, {kind}, used),
                         w, importance);
  };
  EXPECT_LT(error(SearchKind::Grid, true),
            0.97 * error(SearchKind::LeastSquares, true));
  EXPECT_LT(error(SearchKind::LeastSquares, true),
            0.8 * error(SearchKind::LeastSquares, false));
}

TEST(Search, UnitOfImportanceDoesNotCount) {
  Scheme scheme;
  std::vector<float> w = randomFloats(4 * 96, 1);
  std::vector<float> importance = randomImportance(96, 2), scaled = importance;
  for (float &value : scaled)
    value *= 0x1p-90f;
  EXPECT_TRUE(
      sameBytes(quantizeRoundToNearest(w, 4, 96, scheme, {}, importance),
                quantizeRoundToNearest(w, 4, 96, scheme, {}, scaled)));
}

TEST(Search, FullRangeUsesTheLowestCode) {
  Scheme scheme;
  scheme.zero = ZeroKind::Symmetric;
  std::vector<float> w(32);
  for (int i = 0; i < 32; ++i)
    w[i] = static_cast<float>(i % 16) - 7.0f; // -7 .. 8: 8 needs scale -1
  for (SearchKind kind : {SearchKind::LeastSquares, SearchKind::Grid}) {
    auto half = quantizeRoundToNearest(w, 1, 32, scheme, {kind, false});
    auto full = quantizeRoundToNearest(w, 1, 32, scheme, {kind, true});
    EXPECT_GT(half.scales[0], 0.0f);
    EXPECT_EQ(full.scales[0], -1.0f);
    EXPECT_EQ(weightedError(full, w), 0.0);
    EXPECT_GT(weightedError(half, w), 0.0);
  }
}

TEST(Search, OddData) {
  const float most = std::numeric_limits<float>::max();
  const float fills[] = {0.0f,  1.0f,   -1.0f, 1e-9f,  -3e-8f,
                         1e30f, -1e38f, most,  1e-45f, 100.03f};
  for (ZeroKind zero : kZeroKinds)
    for (ScaleKind type : kScaleKinds)
      for (Granularity granularity : kGranularities)
        for (SearchKind kind : kSearchKinds)
          for (float fill : fills)
            for (int shape = 0; shape < 3; ++shape) {
              Scheme scheme{4, granularity, 8, zero, type};
              if (!scheme.verify().empty())
                continue;
              std::vector<float> w(2 * 20, fill);
              if (shape == 1) // both signs
                for (size_t i = 0; i < w.size(); i += 2)
                  w[i] = -fill;
              if (shape == 2) // a lone value
                std::fill(w.begin() + 1, w.end(), 0.0f);
              auto q = quantizeRoundToNearest(w, 2, 20, scheme, {kind, true});
              ASSERT_EQ(verify(q), "") << fill;
              for (float value : dequantized(q))
                ASSERT_TRUE(std::isfinite(value)) << fill << " " << shape;
            }
}

TEST(Search, ConstantGroupsAreExact) {
  // 1.5 is a value of every scale type, and so is 1.5 / 15 * 15 after a refit.
  for (ZeroKind zero : kZeroKinds)
    for (float fill : {0.0f, 1.5f, -1.5f})
      for (SearchKind kind : kSearchKinds) {
        Scheme scheme{4, Granularity::Group, 16, zero, ScaleKind::F32};
        std::vector<float> w(40, fill);
        auto q = quantizeRoundToNearest(w, 1, 40, scheme, {kind, true});
        for (float value : dequantized(q))
          EXPECT_NEAR(value, fill, 2e-7);
      }
}

TEST(Search, TinyGroupsKeepAScale) {
  // The scale of min/max is below the smallest f16, yet the weights are not.
  Scheme scheme;
  scheme.zero = ZeroKind::Minimum;
  std::vector<float> w = {0.0f, 2e-7f, 1e-7f, 0.5e-7f};
  auto q = quantizeRoundToNearest(w, 1, 4, scheme, {SearchKind::None});
  EXPECT_EQ(q.scales[0], 0x1p-24f);
  EXPECT_EQ(q.codes[1], 3);
}

TEST(RoundToNearest, Refuses) {
  Scheme scheme;
  std::vector<float> w = randomFloats(12, 1);
  EXPECT_EQ(roundToNearestError(w, 3, 4, scheme), "");
  EXPECT_NE(roundToNearestError(w, 3, 5, scheme), "");
  w[7] = std::nanf("");
  EXPECT_NE(roundToNearestError(w, 3, 4, scheme).find("row 1 column 3"),
            std::string::npos);
  EXPECT_EQ(quantizeRoundToNearest(w, 3, 4, scheme, {}).n, 0);
  w[7] = 0;
  std::vector<float> importance = {1, -1, 1, 1};
  EXPECT_NE(roundToNearestError(w, 3, 4, scheme, importance), "");
  importance.pop_back();
  EXPECT_NE(roundToNearestError(w, 3, 4, scheme, importance), "");
  scheme.bits = 11;
  EXPECT_NE(roundToNearestError(w, 3, 4, scheme), "");
}

TEST(RoundToNearest, ThreadsDoNotCount) {
  Scheme scheme;
  scheme.zero = ZeroKind::Minimum;
  std::vector<float> w = randomFloats(101 * 150, 1);
  std::vector<float> importance = randomImportance(150, 2);
  omp_set_num_threads(1);
  auto one = quantizeRoundToNearest(w, 101, 150, scheme, {}, importance);
  for (int threads = 2; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    EXPECT_TRUE(sameBytes(
        one, quantizeRoundToNearest(w, 101, 150, scheme, {}, importance)));
  }
}

} // namespace
