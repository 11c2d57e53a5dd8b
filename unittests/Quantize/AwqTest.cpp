//===- AwqTest.cpp - Tests of the scales of AWQ ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against every candidate, tried one by one in f64.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Awq.h"
#include "TestData.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

/// Two weights that read one input.
struct Problem {
  Problem(int64_t k, unsigned seed, Scheme scheme, SearchKind search)
      : k(k), x(correlatedInputs(4 * k, k, seed)),
        hessian(slowHessian(x, 4 * k, k)) {
    RowBlock blocks[] = {{x.data(), k}, {x.data() + k * k, 3 * k}};
    magnitude = meanMagnitudes(blocks, k);
    const int64_t rows[] = {7, 4};
    for (int i = 0; i < 2; ++i)
      values.push_back(randomFloats(rows[i] * k, seed + 20 + i));
    for (int i = 0; i < 2; ++i)
      weights.push_back({values[i], rows[i], scheme, {search, true}});
  }

  AwqInput input() const { return {hessian, magnitude}; }

  int64_t k;
  std::vector<float> x, hessian, magnitude;
  std::vector<std::vector<float>> values;
  std::vector<AwqWeight> weights;
};

/// The squared output error of `weight` with `scales`, straight from the
/// inputs' second moments.
double slowError(const Problem &p, const AwqWeight &weight,
                 const std::vector<float> &scales) {
  std::vector<float> scaled(weight.values.begin(), weight.values.end());
  std::vector<float> importance(p.k);
  for (int64_t j = 0; j < p.k; ++j) {
    importance[j] = p.hessian[j * p.k + j] / (scales[j] * scales[j]);
    for (int64_t row = 0; row < weight.n; ++row)
      scaled[row * p.k + j] *= scales[j];
  }
  std::vector<float> d = dequantized(quantizeRoundToNearest(
      scaled, weight.n, p.k, weight.scheme, weight.search, importance));
  double sum = 0;
  for (int64_t row = 0; row < weight.n; ++row) {
    for (int64_t j = 0; j < p.k; ++j)
      d[row * p.k + j] =
          d[row * p.k + j] / scales[j] - weight.values[row * p.k + j];
    sum += slowForm(d.data() + row * p.k, p.k, p.hessian);
  }
  return sum;
}

double slowError(const Problem &p, const std::vector<float> &scales) {
  double sum = 0;
  for (const AwqWeight &weight : p.weights)
    sum += slowError(p, weight, scales);
  return sum;
}

/// The formula of the header, in f64.
std::vector<float> slowScales(const Problem &p, double alpha,
                              bool usesWeights) {
  std::vector<double> means(p.k, 0.0), s(p.k);
  int64_t rows = 0;
  for (const AwqWeight &weight : p.weights) {
    int64_t length = weight.scheme.groupLength(p.k);
    for (int64_t row = 0; row < weight.n; ++row, ++rows)
      for (int64_t j = 0; j < p.k; ++j) {
        double most = 0;
        int64_t begin = j / length * length;
        for (int64_t i = begin; i < std::min(begin + length, p.k); ++i)
          most =
              std::max<double>(most, std::fabs(weight.values[row * p.k + i]));
        means[j] += std::fabs(weight.values[row * p.k + j]) / most;
      }
  }
  for (int64_t j = 0; j < p.k; ++j) {
    s[j] = std::pow(p.magnitude[j], alpha);
    if (usesWeights)
      s[j] /= std::pow(means[j] / rows, 1 - alpha) + 1e-4;
  }
  double unit = std::sqrt(*std::max_element(s.begin(), s.end()) *
                          *std::min_element(s.begin(), s.end()));
  std::vector<float> scales(p.k);
  for (int64_t j = 0; j < p.k; ++j)
    scales[j] = static_cast<float>(s[j] / unit);
  return scales;
}

Scheme fourBits(int64_t group) {
  Scheme scheme;
  scheme.groupSize = group;
  return scheme;
}

TEST(Awq, MeanMagnitudes) {
  const int64_t rows = 37, k = 300;
  std::vector<float> x = randomFloats(rows * k, 5);
  RowBlock blocks[] = {{x.data(), 30}, {x.data() + 30 * k, 7}};
  std::vector<float> means = meanMagnitudes(blocks, k);
  ASSERT_EQ(int64_t(means.size()), k);
  for (int64_t j = 0; j < k; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i)
      sum += std::fabs(x[i * k + j]);
    EXPECT_NEAR(means[j], sum / rows, 1e-6 * means[j]);
  }
  EXPECT_EQ(meanMagnitudes({}, 3), std::vector<float>(3, 0.0f));
}

// The candidate that is chosen has the least error of all, which is as said.
TEST(Awq, EveryCandidate) {
  Scheme schemes[] = {fourBits(8), fourBits(24), fourBits(5)};
  schemes[0].bits = 3;
  schemes[1].zero = ZeroKind::Symmetric;
  schemes[2].zero = ZeroKind::Minimum;
  unsigned seed = 100, gains = 0;
  for (const Scheme &scheme : schemes)
    for (SearchKind search : {SearchKind::None, SearchKind::LeastSquares}) {
      Problem p(24, seed += 10, scheme, search);
      AwqScales found = searchAwqScales(p.weights, p.k, p.input(), {0});
      ASSERT_EQ(found.error, "");
      double plain = slowError(p, std::vector<float>(p.k, 1.0f)), least = plain;
      for (bool usesWeights : {false, true})
        for (int step = 0; step < 20; ++step)
          least = std::min(
              least, slowError(p, slowScales(p, step / 20.0, usesWeights)));
      EXPECT_NEAR(found.plainObjective, plain, 1e-4 * plain);
      EXPECT_NEAR(found.objective, least, 1e-4 * least);
      EXPECT_NEAR(slowError(p, found.scales), least, 1e-4 * least);
      gains += least < plain;
      std::vector<float> same =
          found.isScaled() ? slowScales(p, found.alpha, found.usesWeights)
                           : std::vector<float>(p.k, 1.0f);
      for (int64_t j = 0; j < p.k; ++j)
        EXPECT_NEAR(found.scales[j], same[j], 1e-5 * same[j]);
    }
  EXPECT_GE(gains, 4u); // else little was tested
}

// On some rows only it may choose another candidate, but never one that is
// worse than none.
TEST(Awq, SampledRowsNeverWorse) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Problem p(16, seed, fourBits(16), SearchKind::None);
    AwqScales found = searchAwqScales(p.weights, p.k, p.input(), {2});
    ASSERT_EQ(found.error, "");
    EXPECT_LE(found.objective, found.plainObjective);
    double error = slowError(p, found.scales);
    EXPECT_NEAR(found.objective, error, 1e-4 * error);
  }
}

TEST(Awq, NothingToGain) {
  // All inputs are alike, so are all weights.
  Problem p(8, 3, fourBits(8), SearchKind::None);
  std::fill(p.magnitude.begin(), p.magnitude.end(), 2.0f);
  for (size_t i = 0; i < p.values.size(); ++i)
    std::fill(p.values[i].begin(), p.values[i].end(), 0.5f);
  AwqScales found = searchAwqScales(p.weights, p.k, p.input());
  EXPECT_EQ(found.scales, std::vector<float>(p.k, 1.0f));
  EXPECT_FALSE(found.isScaled());
  EXPECT_EQ(found.alpha, 0);
  EXPECT_FALSE(found.usesWeights);
}

// Nothing is known of a column that no sample used: its scale is 1, and it has
// no part in the others'.
TEST(Awq, DeadColumn) {
  Problem p(16, 8, fourBits(16), SearchKind::None);
  const int64_t dead = 5;
  p.magnitude[dead] = 0;
  for (int64_t j = 0; j < p.k; ++j)
    p.hessian[dead * p.k + j] = p.hessian[j * p.k + dead] = 0;
  AwqScales found = searchAwqScales(p.weights, p.k, p.input(), {0});
  ASSERT_TRUE(found.isScaled());
  EXPECT_EQ(found.scales[dead], 1.0f);
  auto [low, high] =
      std::minmax_element(found.scales.begin(), found.scales.end());
  EXPECT_NEAR(double(*low) * *high, 1, 1e-5);
  p.magnitude.assign(p.k, 0.0f);
  p.hessian.assign(p.k * p.k, 0.0f);
  EXPECT_FALSE(searchAwqScales(p.weights, p.k, p.input()).isScaled());
}

TEST(Awq, ThreadsDoNotMatter) {
  Problem p(48, 9, fourBits(16), SearchKind::LeastSquares);
  int before = omp_get_max_threads();
  omp_set_num_threads(1);
  AwqScales one = searchAwqScales(p.weights, p.k, p.input());
  omp_set_num_threads(5);
  AwqScales five = searchAwqScales(p.weights, p.k, p.input());
  omp_set_num_threads(before);
  EXPECT_EQ(one.scales, five.scales);
  EXPECT_EQ(one.objective, five.objective);
}

TEST(Awq, Refused) {
  auto error = [](auto spoil) {
    Problem p(8, 1, fourBits(8), SearchKind::None);
    spoil(p);
    return searchAwqScales(p.weights, p.k, p.input()).error;
  };
  EXPECT_EQ(error([](Problem &) {}), "");
  EXPECT_EQ(error([](Problem &p) { p.magnitude.pop_back(); }),
            "the input must have 8 columns");
  EXPECT_EQ(error([](Problem &p) { p.magnitude[3] = NAN; }),
            "the input is not finite at column 3");
  EXPECT_EQ(error([](Problem &p) { p.hessian[9 * 4] = INFINITY; }),
            "the input is not finite at column 4");
  EXPECT_EQ(error([](Problem &p) { p.values[1][8 + 2] = NAN; }),
            "weight is not finite at row 1 column 2");
  EXPECT_NE(error([](Problem &p) { p.weights[0].scheme.bits = 9; }), "");
}

} // namespace
