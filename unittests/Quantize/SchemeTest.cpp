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
  scheme.granularity = Granularity::Flat;
  EXPECT_EQ(scheme.scaleRows(7), 1);
  EXPECT_EQ(scheme.scaleColumns(7, 100), 6); // 700 weights
  EXPECT_EQ(scheme.forRows(100), scheme);
  EXPECT_EQ(scheme.forRows(256).granularity, Granularity::Group);
}

TEST(Scheme, ScaleOfEveryWeight) {
  std::mt19937 engine(8);
  for (int trial = 0; trial < 200; ++trial) {
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 5, k = 1 + engine() % 90;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) {
        int64_t index = slowScaleIndex(scheme, i, j, k);
        ASSERT_EQ(scheme.scaleIndex(i, j, k), index);
        int64_t end = j + 1;
        while (end < k && slowScaleIndex(scheme, i, end, k) == index)
          ++end;
        ASSERT_EQ(scheme.groupEnd(i, j, k), end);
        ASSERT_LT(index, scheme.numScales(n, k));
      }
  }
}

TEST(Scheme, BitsPerWeight) {
  Scheme scheme;
  scheme.groupSize = 64;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4 + 20.0 / 64);
  scheme.zero = ZeroKind::Minimum;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4.5);
  scheme.zero = ZeroKind::Symmetric;
  scheme.scaleType = ScaleKind::F32;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 128), 4.5);
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 65), 4 + 64.0 / 65);
  scheme.granularity = Granularity::Tensor;
  EXPECT_DOUBLE_EQ(scheme.bitsPerWeight(8, 4), 5);
}

TEST(Scheme, BitsPerWeightOfTables) {
  Scheme nf4{4,
             Granularity::Group,
             64,
             ZeroKind::Symmetric,
             ScaleKind::F32,
             CodeTable::NF4};
  EXPECT_DOUBLE_EQ(nf4.bitsPerWeight(1024, 1024), 4.5);
  nf4.nesting = Nesting::Dynamic;
  EXPECT_DOUBLE_EQ(nf4.bitsPerWeight(1024, 1024),
                   4 + 8.0 / 64 + 32.0 / (64 * 256) + 32.0 / (1024 * 1024));
  // 65 x 3 weights: 4 scales, which share one of the second level.
  nf4.granularity = Granularity::Flat;
  EXPECT_DOUBLE_EQ(nf4.bitsPerWeight(3, 65), 4 + (4 * 8 + 32 + 32) / 195.0);
  Scheme nvfp4{4,
               Granularity::Group,
               16,
               ZeroKind::Symmetric,
               ScaleKind::E4M3,
               CodeTable::E2M1,
               Nesting::PerTensor};
  EXPECT_DOUBLE_EQ(nvfp4.bitsPerWeight(64, 64), 4.5 + 32.0 / 4096);
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
  scheme.granularity = Granularity::Flat;
  EXPECT_NE(scheme.verify(), "");
  scheme.granularity = Granularity::Channel;
  EXPECT_EQ(scheme.verify(), "");
  scheme.zero = ZeroKind::Minimum;
  scheme.scaleType = ScaleKind::E8M0;
  EXPECT_NE(scheme.verify(), "");
}

TEST(Scheme, RulesOfTables) {
  Scheme good{4,
              Granularity::Group,
              64,
              ZeroKind::Symmetric,
              ScaleKind::F32,
              CodeTable::NF4};
  EXPECT_EQ(good.verify(), "");
  Scheme bad = good;
  bad.bits = 3;
  EXPECT_NE(bad.verify(), "");
  bad = good;
  bad.zero = ZeroKind::Integer;
  EXPECT_NE(bad.verify(), "");
  for (Nesting nesting : {Nesting::Dynamic, Nesting::PerTensor})
    for (ScaleKind kind : kScaleKinds) {
      bad = good;
      bad.nesting = nesting;
      bad.scaleType = kind;
      ScaleKind wanted =
          nesting == Nesting::Dynamic ? ScaleKind::F32 : ScaleKind::E4M3;
      EXPECT_EQ(bad.verify().empty(), kind == wanted);
      bad.table = CodeTable::Linear;
      EXPECT_NE(bad.verify(), "");
    }
}

QuantizedMatrix randomMatrix(const Scheme &scheme, int64_t n, int64_t k,
                             unsigned seed) {
  std::mt19937 engine(seed);
  QuantizedMatrix m{scheme, n, k, {}, {}, {}};
  for (int64_t i = 0; i < n * k; ++i)
    m.codes.push_back(engine() % (scheme.maxCode() + 1));
  int64_t groups = scheme.numScales(n, k);
  for (float value : randomFloats(groups, seed))
    m.scales.push_back(roundTo(scheme.scaleType, value));
  if (scheme.nesting != Nesting::None) {
    int64_t length = nestedLength(scheme.nesting, groups);
    m.nested.scales = randomFloats((groups + length - 1) / length, seed + 2);
    if (scheme.nesting == Nesting::Dynamic)
      m.nested.offset = 0.7f;
    for (int64_t i = 0; i < groups; ++i) {
      m.nested.bytes.push_back(engine() % 0x7f);
      volatile float product = byteValues(scheme.nesting)[m.nested.bytes[i]] *
                               m.nested.scales[i / length];
      m.scales[i] = product + m.nested.offset;
    }
  }
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
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 5;
    int64_t k = 1 + engine() % (trial % 20 == 0 ? 900 : 90);
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

TEST(Scheme, VerifyNestedMatrix) {
  Scheme scheme{4,
                Granularity::Group,
                16,
                ZeroKind::Symmetric,
                ScaleKind::F32,
                CodeTable::NF4,
                Nesting::Dynamic};
  QuantizedMatrix good = randomMatrix(scheme, 3, 40, 5);
  ASSERT_EQ(verify(good), "");
  QuantizedMatrix bad = good;
  bad.nested.bytes[2] ^= 1;
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.nested.scales.push_back(1);
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.nested.bytes.pop_back();
  EXPECT_NE(verify(bad), "");
  bad = good;
  bad.scheme.nesting = Nesting::None;
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
