//===- SchemeTest.cpp - Tests of schemes and dequantization ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sizes, rules and values.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

TEST(Scheme, Groups) {
  Scheme scheme;
  scheme.groupSize = 128;
  EXPECT_EQ(scheme.numGroups(576), 5);
  EXPECT_EQ(scheme.groupLength(100), 100);
  EXPECT_EQ(scheme.numGroups(0), 0);
  scheme.granularity = Granularity::Tensor;
  EXPECT_EQ(scheme.numGroups(576), 1);
  EXPECT_EQ(scheme.scaleRows(7), 1);
}

TEST(Scheme, BitsPerWeight) {
  Scheme scheme;
  scheme.groupSize = 64;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4 + 20.0 / 64);
  scheme.zero = ZeroKind::Minimum;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4.5);
  scheme.zero = ZeroKind::Symmetric;
  scheme.scaleType = FloatKind::F32;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4.5);
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 65), 4 + 64.0 / 65);
  scheme.granularity = Granularity::Tensor;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 4), 5);
}

TEST(Scheme, Rules) {
  Scheme scheme;
  EXPECT_EQ(scheme.verify(), "");
  scheme.bits = 1;
  EXPECT_NE(scheme.verify(), "");
  scheme.bits = 9;
  EXPECT_NE(scheme.verify(), "");
  scheme.bits = 8;
  scheme.groupSize = 0;
  EXPECT_NE(scheme.verify(), "");
  scheme.granularity = Granularity::Channel;
  EXPECT_EQ(scheme.verify(), "");
}

QuantizedMatrix randomMatrix(const Scheme &scheme, int64_t n, int64_t k,
                             unsigned seed) {
  std::mt19937 engine(seed);
  QuantizedMatrix m{scheme, n, k, {}, {}, {}};
  for (int64_t i = 0; i < n * k; ++i)
    m.codes.push_back(engine() % (scheme.maxCode() + 1));
  int64_t groups = scheme.scaleRows(n) * scheme.numGroups(k);
  for (float value : randomFloats(groups, seed))
    m.scales.push_back(roundTo(scheme.scaleType, value));
  if (scheme.zero == ZeroKind::Minimum)
    for (float value : randomFloats(groups, seed + 1))
      m.offsets.push_back(roundTo(scheme.scaleType, value));
  else if (scheme.zero == ZeroKind::Integer)
    for (int64_t i = 0; i < groups; ++i)
      m.offsets.push_back(engine() % (scheme.maxCode() + 1));
  return m;
}

TEST(Scheme, DequantizeFollowsTheDefinition) {
  std::mt19937 engine(1);
  for (int trial = 0; trial < 300; ++trial) {
    Scheme scheme = randomScheme(engine);
    int64_t n = 1 + engine() % 5, k = 1 + engine() % 90;
    QuantizedMatrix m = randomMatrix(scheme, n, k, trial);
    ASSERT_EQ(verify(m), "");
    std::vector<float> out = dequantized(m);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j)
        ASSERT_EQ(out[i * k + j], slowValue(m, i, j, m.codes[i * k + j]));
    std::vector<float> part((n - n / 2) * k);
    dequantizeRows(m, n / 2, n, part);
    ASSERT_TRUE(std::equal(part.begin(), part.end(), out.begin() + n / 2 * k));
  }
}

TEST(Scheme, VerifyMatrix) {
  Scheme scheme;
  scheme.groupSize = 16;
  QuantizedMatrix good = randomMatrix(scheme, 3, 40, 5);
  ASSERT_EQ(verify(good), "");
  QuantizedMatrix bad = good;
  bad.codes[7] = 16;
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.codes.pop_back();
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.scales[0] = std::nanf("");
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.scales[0] = 0.1f; // no value of f16
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.offsets[0] = 2.5f;
  EXPECT_NE(verify(bad), "");
  bad.offsets.clear();
  EXPECT_NE(verify(bad), "");
}

TEST(Scheme, FindNonFinite) {
  std::vector<float> values = randomFloats(12, 3);
  EXPECT_EQ(findNonFinite(values, 3, 4), "");
  values[9] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(findNonFinite(values, 3, 4), "row 2 column 1");
  values[6] = std::nanf("");
  EXPECT_EQ(findNonFinite(values, 3, 4), "row 1 column 2");
}

} // namespace
