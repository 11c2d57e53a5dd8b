//===- GptqFactorTest.cpp - Tests of the factor of H ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Order, factorisation, the damping ladder and what follows when it ends.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"
#include "quantopt/Quantize/Gptq.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

TEST(GptqFactor, Orders) {
  int64_t k = 8;
  std::vector<float> h(k * k);
  const float diagonal[] = {1, 5, 2, 7, 9, 3, 5, 4};
  for (int64_t i = 0; i < k; ++i)
    h[i * k + i] = diagonal[i];
  auto order = [&](ActOrder kind, int64_t group) {
    GptqFactor factor = GptqFactor::make(h, k, {0.01, kind, group});
    return std::vector<int64_t>(factor.order().begin(), factor.order().end());
  };
  using Order = std::vector<int64_t>;
  EXPECT_EQ(order(ActOrder::None, 0), (Order{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(order(ActOrder::Static, 0), (Order{4, 3, 1, 6, 7, 5, 2, 0}));
  EXPECT_EQ(order(ActOrder::Gar, 3), (Order{4, 3, 5, 1, 2, 0, 6, 7}));
}

TEST(GptqFactor, UpperIsAFactorOfTheInverse) {
  int64_t k = 30;
  std::vector<float> h = slowHessian(correlatedInputs(90, k, 4), 90, k);
  GptqFactor factor = GptqFactor::make(h, k);
  std::span<const float> u = factor.upper();
  // U (H / scale + damp) U^T must be the identity, in the order of the solve.
  auto damped = [&](int64_t i, int64_t j) {
    int64_t a = factor.order()[i], b = factor.order()[j];
    return h[a * k + b] / factor.scale() + (i == j ? factor.damp() : 0);
  };
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t a = 0; a < k; ++a)
        for (int64_t b = 0; b < k; ++b)
          sum += u[i * k + a] * damped(a, b) * u[j * k + b];
      ASSERT_NEAR(sum, i == j ? 1 : 0, 1e-4);
      if (j < i)
        ASSERT_EQ(u[i * k + j], 0.0f);
    }
}

TEST(GptqFactor, ImportanceIsBetweenPivotAndDiagonal) {
  int64_t k = 12, dead = 7;
  std::vector<float> h = slowHessian(correlatedInputs(40, k, 4), 40, k);
  for (int64_t i = 0; i < k; ++i)
    h[i * k + dead] = h[dead * k + i] = 0;
  GptqFactor factor = GptqFactor::make(h, k);
  std::vector<float> damped = factor.dampedHessian(true);
  EXPECT_EQ(factor.importance()[dead], 0.0f);
  // By elimination from the last column on, what is left of a diagonal when
  // its turn comes is its pivot.
  for (int64_t last = k - 1; last >= 0; --last) {
    int64_t column = factor.order()[last];
    double pivot = damped[last * k + last];
    double d = h[column * k + column] / factor.scale();
    EXPECT_NEAR(factor.importance()[column],
                std::pow(pivot, 0.25) * std::pow(d, 0.75), 1e-3 * d);
    for (int64_t i = 0; i < last; ++i)
      for (int64_t j = 0; j < last; ++j)
        damped[i * k + j] -= static_cast<float>(damped[i * k + last] *
                                                damped[last * k + j] / pivot);
  }
}

TEST(GptqFactor, DampForTokens) {
  EXPECT_DOUBLE_EQ(dampForTokens(576, 16384), 576 / 32768.0);
  EXPECT_DOUBLE_EQ(dampForTokens(576, 300), 0.96);
  EXPECT_DOUBLE_EQ(dampForTokens(576, 10), 1.0);
  EXPECT_DOUBLE_EQ(dampForTokens(576, 0), 1.0);
}

TEST(GptqFactor, SingularHessianRaisesTheDamping) {
  int64_t k = 24;
  std::vector<float> h = slowHessian(correlatedInputs(4, k, 1), 4, k);
  GptqFactor factor = GptqFactor::make(h, k, {0.0});
  EXPECT_EQ(factor.error() + factor.fallback(), "");
  EXPECT_GT(factor.attempts(), 1);
  EXPECT_GE(factor.damp(), 0.01);
  EXPECT_LE(factor.damp(), 1.0);
  GptqResult result = quantizeGptq(randomFloats(6 * k, 3), 6, k, {}, factor);
  EXPECT_EQ(result.error + result.fallback, "");
  EXPECT_EQ(result.damp, factor.damp());
  EXPECT_EQ(result.dampAttempts, factor.attempts());
  // Positive definite by the rounding of a float alone is not enough.
  factor = GptqFactor::make({1, 1, 1, 1 + 0x1p-22f}, 2, {0.0});
  EXPECT_EQ(factor.attempts(), 2);
  EXPECT_EQ(factor.damp(), 0.01);
  // A regular one keeps what was asked for.
  h = slowHessian(randomFloats(100 * k, 5), 100, k);
  factor = GptqFactor::make(h, k, {0.0});
  EXPECT_EQ(factor.attempts(), 1);
  EXPECT_EQ(factor.damp(), 0.0);
}

TEST(GptqFactor, FallsBackToRoundToNearest) {
  std::vector<float> h = {1, 10, 10, 1}; // no covariance
  std::vector<float> w = randomFloats(8, 3);
  GptqFactor factor = GptqFactor::make(h, 2);
  EXPECT_EQ(factor.error(), "");
  EXPECT_NE(factor.fallback(), "");
  GptqOptions options;
  options.keepBetter = false;
  GptqResult result = quantizeGptq(w, 4, 2, {}, factor, options);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.fallback, factor.fallback());
  EXPECT_TRUE(result.keptRoundToNearest);
  EXPECT_EQ(result.roundToNearestRows, 4);
  EXPECT_TRUE(
      sameBytes(result.matrix,
                quantizeRoundToNearest(w, 4, 2, {}, {}, factor.diagonal())));
}

} // namespace
