//===- MultiplyTest.cpp - The product of a linear layer -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Multiply.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <omp.h>
#include <random>

using namespace quantopt;

namespace {

std::vector<float> randomFloats(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

TEST(Multiply, AgainstPlainLoops) {
  for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 5, 3},
                         {1, 400, 65},
                         {7, 1, 9},
                         {33, 577, 80},
                         {64, 192, 257}}) {
    auto x = randomFloats(m * k, 1), w = randomFloats(n * k, 2);
    std::vector<float> y(m * n);
    multiplyTransposed({x.data(), m, k}, {w.data(), n, k},
                       MutableMatrixRef{y.data(), m, n});
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum += double(x[i * k + l]) * w[j * k + l];
        ASSERT_NEAR(y[i * n + j], sum, 1e-4) << m << " " << n << " " << k;
      }
  }
}

TEST(Multiply, SameBitsForThreadsAndSources) {
  int64_t m = 24, n = 1000, k = 130;
  auto x = randomFloats(m * k, 3), w = randomFloats(n * k, 4);
  std::vector<float> first(m * n), other(m * n);
  omp_set_num_threads(1);
  multiplyTransposed({x.data(), m, k}, {w.data(), n, k},
                     MutableMatrixRef{first.data(), m, n});
  WeightRows rows = [&](int64_t begin, int64_t end, float *out) {
    std::memcpy(out, w.data() + begin * k, (end - begin) * k * sizeof(float));
  };
  for (int threads : {1, 2, 7}) {
    omp_set_num_threads(threads);
    multiplyTransposed({x.data(), m, k}, rows,
                       MutableMatrixRef{other.data(), m, n});
    EXPECT_EQ(first, other);
  }
}

TEST(Multiply, HalfKindsEqualTheirFloats) {
  int64_t m = 9, n = 210, k = 48;
  for (FloatKind kind : {FloatKind::F16, FloatKind::BF16}) {
    auto x = randomFloats(m * k, 5), w = randomFloats(n * k, 6);
    std::vector<uint16_t> xh(m * k), wh(n * k), yh(m * n), expectedHalf(m * n);
    narrow(kind, x.data(), m * k, xh.data());
    narrow(kind, w.data(), n * k, wh.data());
    widen(kind, xh.data(), m * k, x.data());
    widen(kind, wh.data(), n * k, w.data());
    std::vector<float> expected(m * n);
    multiplyTransposed({x.data(), m, k}, {w.data(), n, k},
                       MutableMatrixRef{expected.data(), m, n});
    narrow(kind, expected.data(), m * n, expectedHalf.data());
    multiplyTransposed({xh.data(), m, k, kind}, {wh.data(), n, k, kind},
                       {yh.data(), m, n, kind});
    EXPECT_EQ(yh, expectedHalf);
  }
}

TEST(Convert, EveryHalfComesBack) {
  for (FloatKind kind : {FloatKind::F16, FloatKind::BF16})
    for (unsigned bits = 0; bits < 65536; ++bits) {
      uint16_t half = bits, back;
      float value;
      widen(kind, &half, 1, &value);
      narrow(kind, &value, 1, &back);
      if (std::isnan(value)) {
        narrow(kind, &value, 1, &back);
        widen(kind, &back, 1, &value);
        ASSERT_TRUE(std::isnan(value));
      } else {
        ASSERT_EQ(half, back);
      }
    }
}

TEST(Convert, RoundsToNearestEven) {
  auto half = [](float value) {
    uint16_t bits;
    narrow(FloatKind::F16, &value, 1, &bits);
    return bits;
  };
  EXPECT_EQ(half(1.0f), 0x3c00);
  EXPECT_EQ(half(1.0f + 0x1p-11f), 0x3c00); // tie, even
  EXPECT_EQ(half(1.0f + 0x3p-11f), 0x3c02); // tie, up to even
  EXPECT_EQ(half(65504.0f), 0x7bff);
  EXPECT_EQ(half(65519.0f), 0x7bff);
  EXPECT_EQ(half(65520.0f), 0x7c00);
  EXPECT_EQ(half(0x1p-24f), 1);
  EXPECT_EQ(half(0x1p-25f), 0);
  EXPECT_EQ(half(0x1.8p-25f), 1);
  EXPECT_EQ(half(-std::numeric_limits<float>::infinity()), 0xfc00);
}

} // namespace
