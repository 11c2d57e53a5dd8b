//===- LowerTriangleTest.cpp - Tests of the fp64 factorisation ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sizes of one block and of several, with a last one that is short or not.
//
//===----------------------------------------------------------------------===//

#include "../../lib/Quantize/LowerTriangle.h"
#include "TestData.h"

#include <gtest/gtest.h>
#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

/// A positive definite matrix, and its lower triangle.
struct Problem {
  explicit Problem(int64_t k)
      : h(slowHessian(correlatedInputs(k + 20, k, 3), k + 20, k)), a(k) {
    for (int64_t i = 0; i < k; ++i) {
      h[i * k + i] += 0.5f;
      for (int64_t j = 0; j <= i; ++j)
        *a.at(i, j) = h[i * k + j];
    }
  }
  std::vector<float> h;
  LowerTriangle a;
};

/// Of a lower triangle as a full matrix.
double element(const LowerTriangle &a, int64_t i, int64_t j) {
  return j <= i ? *a.at(i, j) : 0.0;
}

class LowerTriangleSizes : public ::testing::TestWithParam<int64_t> {};

TEST_P(LowerTriangleSizes, FactorAndInverse) {
  int64_t k = GetParam();
  Problem problem(k);
  LowerTriangle &a = problem.a;
  ASSERT_TRUE(a.factorise());
  LowerTriangle factor = a;
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t p = 0; p <= j; ++p)
        sum += *a.at(i, p) * *a.at(j, p);
      ASSERT_NEAR(sum, problem.h[i * k + j],
                  1e-11 * problem.h[i * k + i] + 1e-9)
          << i << " " << j;
    }
  ASSERT_TRUE(a.invert());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t p = j; p <= i; ++p)
        sum += element(a, i, p) * element(factor, p, j);
      ASSERT_NEAR(sum, i == j ? 1 : 0, 1e-9) << i << " " << j;
    }
}

INSTANTIATE_TEST_SUITE_P(OfBlocks, LowerTriangleSizes,
                         ::testing::Values(1, 7, 256, 257, 512, 523, 770));

TEST(LowerTriangle, ThreadsDoNotCount) {
  int64_t k = 600;
  auto inverse = [&](int threads) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    LowerTriangle a = Problem(k).a;
    EXPECT_TRUE(a.factorise() && a.invert());
    omp_set_num_threads(before);
    return a;
  };
  LowerTriangle one = inverse(1), three = inverse(3);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j <= i; ++j)
      ASSERT_EQ(*one.at(i, j), *three.at(i, j)) << i << " " << j;
}

TEST(LowerTriangle, WhatIsNotPositiveDefiniteIsRefused) {
  Problem problem(300);
  *problem.a.at(290, 290) = -1;
  EXPECT_FALSE(problem.a.factorise());
}

} // namespace
