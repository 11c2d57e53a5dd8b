//===- HessianTest.cpp - Tests of H and of the error measure --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against sums in f64.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Hessian.h"
#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

TEST(Hessian, EqualsTheDefinition) {
  for (int64_t k : {1, 7, 256, 300, 530}) {
    int64_t rows = 37;
    std::vector<float> x = correlatedInputs(rows, k, k);
    HessianAccumulator accumulator(k);
    RowBlock first[] = {{x.data(), 5}, {x.data() + 5 * k, 0}};
    RowBlock second[] = {{x.data() + 5 * k, 31}, {x.data() + 36 * k, 1}};
    accumulator.add(first);
    accumulator.add(second);
    EXPECT_EQ(accumulator.rows(), rows);
    std::vector<float> h = accumulator.finish(), slow = slowHessian(x, rows, k);
    std::vector<float> diagonal = accumulator.meanSquare();
    for (int64_t i = 0; i < k; ++i) {
      ASSERT_FLOAT_EQ(diagonal[i], h[i * k + i]);
      for (int64_t j = 0; j < k; ++j) {
        double unit = std::sqrt(slow[i * k + i]) * std::sqrt(slow[j * k + j]);
        ASSERT_NEAR(h[i * k + j], slow[i * k + j], 1e-5 * unit);
        ASSERT_EQ(h[i * k + j], h[j * k + i]);
      }
    }
    EXPECT_EQ(accumulator.take(), h);
  }
}

TEST(Hessian, RowsCountByTheirWeights) {
  int64_t rows = 70;
  for (int64_t k : {1, 33, 300}) {
    std::vector<float> x = correlatedInputs(rows, k, 3);
    std::vector<float> weights = randomFloats(rows, 8);
    for (float &weight : weights)
      weight *= weight;
    weights[5] = 0;
    std::vector<float> scaled = x;
    for (int64_t i = 0; i < rows * k; ++i)
      scaled[i] *= std::sqrt(weights[i / k]);
    std::vector<float> slow = slowHessian(scaled, rows, k);
    RowBlock blocks[] = {{x.data(), 30, weights.data()},
                         {x.data() + 30 * k, 40, weights.data() + 30}};
    HessianAccumulator accumulator(k);
    accumulator.add(blocks);
    std::vector<float> h = accumulator.finish();
    for (int64_t i = 0; i < k * k; ++i)
      ASSERT_NEAR(h[i], slow[i], 1e-4 * (1 + std::fabs(slow[i]))) << k;
  }
}

TEST(Hessian, LevelingWeights) {
  std::vector<float> x = {3, 4, 0, 0, 300, 400, 1, 1};
  RowBlock block = {x.data(), 4};
  std::vector<float> half = levelingWeights(block, 2, 0.5);
  EXPECT_FLOAT_EQ(half[0], 1 / std::sqrt(12.5f));
  EXPECT_EQ(half[1], 0.0f);
  // A row a hundred times as large counts a hundred times as much, not 10^4.
  EXPECT_FLOAT_EQ(half[2] * 1e4f, half[0] * 100);
  EXPECT_FLOAT_EQ(half[3], 1.0f);
  std::vector<float> none = levelingWeights(block, 2, 0);
  EXPECT_EQ(none[0], 1.0f);
  EXPECT_EQ(none[2], 1.0f);
}

TEST(Hessian, MeanSquaresAreItsDiagonal) {
  for (int64_t k : {1, 7, 256, 300, 530}) {
    int64_t rows = 37;
    std::vector<float> x = correlatedInputs(rows, k, k);
    RowBlock blocks[] = {{x.data(), 5}, {x.data() + 5 * k, 32}};
    InputMoments moments(k);
    moments.add({blocks, 1});
    moments.add({blocks + 1, 1});
    std::vector<float> squares = moments.meanSquares();
    std::vector<float> slow = slowHessian(x, rows, k);
    ASSERT_EQ(static_cast<int64_t>(squares.size()), k);
    for (int64_t i = 0; i < k; ++i)
      ASSERT_FLOAT_EQ(squares[i], slow[i * k + i]);
  }
  EXPECT_EQ(InputMoments(3).meanSquares(), std::vector<float>(3, 0.0f));
}

TEST(Hessian, RowsOfZerosAreNotLive) {
  std::vector<float> x = {0, 0, 0, 0, 0, 1, 0, -0.0f, 0, -1, 2, 3};
  RowBlock blocks[] = {{x.data(), 1}, {x.data() + 3, 3}};
  InputMoments moments(3);
  EXPECT_EQ(moments.liveRows(), 0);
  moments.add(blocks);
  EXPECT_EQ(moments.liveRows(), 2);
}

TEST(Hessian, ThreadsDoNotCount) {
  int64_t k = 600, rows = 70;
  std::vector<float> x = correlatedInputs(rows, k, 1), one;
  for (int threads = 1; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    HessianAccumulator accumulator(k);
    RowBlock blocks[] = {{x.data(), 33}, {x.data() + 33 * k, rows - 33}};
    accumulator.add(blocks);
    std::vector<float> h = accumulator.take();
    if (threads == 1)
      one = h;
    EXPECT_EQ(h, one) << threads;
  }
}

TEST(ErrorMeasure, EqualsBruteForce) {
  for (int64_t k : {1, 5, 16, 255, 300, 600}) {
    int64_t n = k == 300 ? 150 : 3;
    std::vector<float> h = slowHessian(correlatedInputs(20, k, k), 20, k);
    std::vector<float> d = randomFloats(n * k, 5);
    std::vector<double> forms = quadraticForms(d, n, k, h);
    double sum = 0;
    for (int64_t row = 0; row < n; ++row) {
      double slow = slowForm(d.data() + row * k, k, h);
      ASSERT_NEAR(forms[row], slow, 1e-4 * slow + 1e-5) << k;
      sum += forms[row];
    }
    EXPECT_DOUBLE_EQ(objective(d, n, k, h), sum);
  }
}

TEST(ErrorMeasure, OfAQuantizedMatrix) {
  int64_t n = 9, k = 50;
  Scheme scheme;
  std::vector<float> w = randomFloats(n * k, 1);
  std::vector<float> importance = randomFloats(k, 2);
  for (float &value : importance)
    value *= value;
  QuantizedMatrix q = quantizeRoundToNearest(w, n, k, scheme, {});
  std::vector<float> d = dequantized(q);
  double slow = 0;
  for (int64_t i = 0; i < n * k; ++i) {
    d[i] -= w[i];
    slow += double(d[i]) * d[i] * importance[i % k];
  }
  EXPECT_NEAR(weightedError(q, w, importance), slow, 1e-9 * slow);
  std::vector<float> diagonal(k * k);
  for (int64_t i = 0; i < k; ++i)
    diagonal[i * k + i] = importance[i];
  double sum = 0;
  for (double error : rowErrors(q, w, diagonal))
    sum += error;
  EXPECT_NEAR(sum, slow, 1e-5 * slow);
}

} // namespace
