//===- LogSoftmaxTest.cpp - Sums over a row of logits ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/LogSoftmax.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

using namespace quantopt;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<float> randomLogits(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(-3.0f, 8.0f);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

double logOfSum(const std::vector<float> &row) {
  double sum = 0;
  for (float value : row)
    sum += std::exp(double(value));
  return std::log(sum);
}

TEST(LogSoftmax, AgainstDoubles) {
  // Whole vectors, parts of one, and both.
  for (int64_t count : {1, 2, 15, 16, 17, 1000, 49152}) {
    std::vector<float> p = randomLogits(count, 1), q = randomLogits(count, 2);
    LogSoftmax rowP(p), rowQ(q);
    double shiftP = logOfSum(p), shiftQ = logOfSum(q), expected = 0;
    for (int64_t i = 0; i < count; ++i)
      expected += std::exp(p[i] - shiftP) * ((p[i] - shiftP) - (q[i] - shiftQ));
    EXPECT_NEAR(rowP.shift, shiftP, 4e-6) << count;
    EXPECT_EQ(rowP.top, std::max_element(p.begin(), p.end()) - p.begin());
    EXPECT_NEAR(rowP.logProbability(0), p[0] - shiftP, 1e-5) << count;
    EXPECT_NEAR(divergence(rowP, rowQ), expected, 1e-5 * (1 + expected))
        << count;
    EXPECT_EQ(divergence(rowP, rowP), 0) << count;
  }
}

TEST(LogSoftmax, TheFirstOfEqualLogitsIsTheTop) {
  std::vector<float> row(40, 1.0f);
  row[7] = row[33] = 2.0f;
  EXPECT_EQ(LogSoftmax(row).top, 7);
}

TEST(LogSoftmax, ImpossibleTokensAddNothing) {
  std::vector<float> p(20, -infinity), q(20, 0.0f);
  p[3] = p[18] = 0.0f;
  LogSoftmax rowP(p), rowQ(q);
  EXPECT_NEAR(rowP.shift, std::log(2.0), 1e-6);
  EXPECT_NEAR(divergence(rowP, rowQ), std::log(10.0), 1e-6);
  // What p can say and q cannot is infinitely far.
  EXPECT_EQ(divergence(rowQ, rowP), infinity);
}

TEST(LogSoftmax, NaNIsSeen) {
  std::vector<float> p(20, 0.0f), q = p;
  p[17] = std::numeric_limits<float>::quiet_NaN();
  LogSoftmax rowP(p), rowQ(q);
  EXPECT_TRUE(std::isnan(rowP.shift));
  EXPECT_TRUE(std::isnan(divergence(rowP, rowQ)));
  EXPECT_TRUE(std::isnan(divergence(rowQ, rowP)));
}

} // namespace
