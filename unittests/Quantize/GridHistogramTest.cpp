//===- GridHistogramTest.cpp - Tests of weights over their grid -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/GridHistogram.h"
#include "TestData.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

int64_t total(const std::vector<int64_t> &counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t(0));
}

/// [1, k] in one group, with parameters that are given.
QuantizedMatrix oneGroup(const std::vector<float> &w, ZeroKind zero,
                         unsigned bits, float scale, float offset) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = Granularity::Channel;
  scheme.zero = zero;
  scheme.scaleType = ScaleKind::F32;
  GroupParameters parameters{{scale}, {offset}};
  if (zero == ZeroKind::Symmetric)
    parameters.offsets.clear();
  return quantizeWithParameters(w, 1, w.size(), scheme, parameters);
}

// 2 bits have the codes 0 to 3, so 8 bins from -.5 to 3.5 are half a step each.
TEST(GridHistogram, UnitsAreStepsOfTheGroup) {
  std::vector<float> w = {-.9f, 0, .1f, .4f, .6f, 1.4f, 9};
  QuantizedMatrix q = oneGroup(w, ZeroKind::Integer, 2, /*scale=*/.5f,
                               /*offset=*/1);
  GridHistogram histogram = gridHistogram(w, q, 8);
  EXPECT_EQ(histogram.unitGrid, (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(histogram.units.from, -.5);
  EXPECT_EQ(histogram.units.to, 3.5);
  // w / .5 + 1 = -.8, 1, 1.2, 1.8, 2.2, 3.8, 19
  EXPECT_EQ(histogram.units.counts,
            (std::vector<int64_t>{1, 0, 0, 2, 1, 1, 0, 2}));
  EXPECT_EQ(histogram.beyond, 3);
  EXPECT_EQ(histogram.codeCounts, (std::vector<int64_t>{1, 2, 2, 2}));
  EXPECT_EQ(histogram.typicalGrid, (std::vector<float>{-.5f, 0, .5f, 1}));
}

TEST(GridHistogram, NegativeScalesAreTurnedBack) {
  // Codes 0 to 3 stand for -2s to s: with s = -1 for 2, 1, 0, -1.
  std::vector<float> w = {2, 1.1f, -1};
  QuantizedMatrix q = oneGroup(w, ZeroKind::Symmetric, 2, -1, 0);
  GridHistogram histogram = gridHistogram(w, q, 4);
  EXPECT_EQ(histogram.unitGrid, (std::vector<float>{-2, -1, 0, 1}));
  EXPECT_EQ(histogram.units.counts, (std::vector<int64_t>{1, 1, 0, 1}));
  EXPECT_EQ(histogram.codeCounts, (std::vector<int64_t>{1, 1, 0, 1}));
  EXPECT_EQ(histogram.beyond, 0);
}

TEST(GridHistogram, AGroupOfOneValueHasNoPlaceOnTheGrid) {
  Scheme scheme;
  scheme.groupSize = 2;
  std::vector<float> w = {0, 0, 1, -1};
  QuantizedMatrix q = quantizeRoundToNearest(w, 1, 4, scheme, {});
  GridHistogram histogram = gridHistogram(w, q);
  EXPECT_EQ(total(histogram.units.counts), 2);
  EXPECT_EQ(total(histogram.codeCounts), 2);
  EXPECT_EQ(total(histogram.absolute.counts), 4);

  std::vector<float> zeros(4, 0.f);
  histogram =
      gridHistogram(zeros, quantizeRoundToNearest(zeros, 1, 4, scheme, {}));
  EXPECT_EQ(total(histogram.units.counts), 0);
  EXPECT_EQ(total(histogram.absolute.counts), 4);
}

TEST(GridHistogram, AbsoluteStopsAtSixDeviations) {
  std::vector<float> w = randomFloats(10000, 1);
  w[17] = 1000;
  w[18] = -50;
  Scheme scheme;
  GridHistogram histogram =
      gridHistogram(w, quantizeRoundToNearest(w, 100, 100, scheme, {}), 16);
  EXPECT_EQ(histogram.minimum, -50);
  EXPECT_EQ(histogram.maximum, 1000);
  // The one outlier makes the deviation: sqrt(1 + 1000^2 / 10000).
  EXPECT_NEAR(histogram.deviation, std::sqrt(101.25), .1);
  EXPECT_EQ(histogram.absolute.from, -50);
  EXPECT_NEAR(histogram.absolute.to, 60.5, 1);
  EXPECT_EQ(histogram.absolute.counts.front(), 1);
  EXPECT_EQ(histogram.absolute.counts.back(), 1);
  EXPECT_EQ(total(histogram.absolute.counts), 10000);
}

// Against one weight at a time, found by its own group's formula.
TEST(GridHistogram, EveryWeightIsInItsBin) {
  std::mt19937 engine(3);
  for (int trial = 0; trial < 200; ++trial) {
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 4, k = 1 + engine() % 40;
    std::vector<float> w = randomFloats(n * k, trial);
    QuantizedMatrix q = quantizeRoundToNearest(
        w, n, k, scheme, {SearchKind::LeastSquares, true});
    GridHistogram histogram = gridHistogram(w, q, 50);
    double first = scheme.zero == ZeroKind::Symmetric
                       ? -double(1 << (scheme.bits - 1))
                       : 0;
    int64_t lowest = 0, highest = scheme.maxCode(); // codes
    if (scheme.table != CodeTable::Linear) {
      std::span<const float, 16> table = tableValues(scheme.table);
      first = table[0];
      lowest = std::min_element(table.begin(), table.end()) - table.begin();
      highest = std::max_element(table.begin(), table.end()) - table.begin();
    }
    std::vector<int64_t> bins(50), codes(scheme.maxCode() + 1);
    int64_t beyond = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) {
        double zero = slowValue(q, i, j, lowest);
        double range = slowValue(q, i, j, highest) - zero;
        if (range == 0)
          continue;
        // In steps above the lowest code.
        double steps = (w[i * k + j] - zero) / range * scheme.maxCode();
        double bin = std::floor((steps + .5) / (scheme.maxCode() + 1) * 50);
        beyond += steps < -.5 || steps > scheme.maxCode() + .5;
        ++bins[std::clamp(bin, 0.0, 49.0)];
        ++codes[q.codes[i * k + j]];
      }
    EXPECT_EQ(histogram.unitGrid.front(), first);
    EXPECT_EQ(histogram.units.counts, bins) << "trial " << trial;
    EXPECT_EQ(histogram.codeCounts, codes) << "trial " << trial;
    EXPECT_EQ(histogram.beyond, beyond) << "trial " << trial;
  }
}

} // namespace
