//===- PackingTest.cpp - Tests of packing ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Golden bytes, and that unpacking is the exact inverse.
//
//===----------------------------------------------------------------------===//

#include "../Quantize/TestData.h"
#include "quantopt/Packing/Dense.h"
#include "quantopt/Packing/PackedMatrix.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

TEST(Dense, GoldenNibbles) {
  std::vector<uint8_t> codes = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(packDense(codes, 1, 8, 4),
            (std::vector<uint8_t>{0x10, 0x32, 0x54, 0x76}));
}

TEST(Dense, GoldenThreeBits) {
  std::vector<uint8_t> codes(32);
  for (int i = 0; i < 32; ++i)
    codes[i] = i % 8;
  std::vector<uint8_t> packed = packDense(codes, 1, 32, 3);
  ASSERT_EQ(packed.size(), 12u);
  auto word = [&](int i) {
    return packed[4 * i] | packed[4 * i + 1] << 8 | packed[4 * i + 2] << 16 |
           uint32_t(packed[4 * i + 3]) << 24;
  };
  EXPECT_EQ(word(0), 0x88fac688u);
  EXPECT_EQ(word(1), 0xc688fac6u);
  EXPECT_EQ(word(2), 0xfac688fau);
}

/// Bit by bit, from the definition.
std::vector<uint8_t> slowPack(const std::vector<uint8_t> &codes, int64_t n,
                              int64_t k, unsigned bits) {
  int64_t bytes = (k * bits + 7) / 8;
  std::vector<uint8_t> packed(n * bytes, 0);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t i = 0; i < k; ++i)
      for (unsigned bit = 0; bit < bits; ++bit)
        if (codes[row * k + i] >> bit & 1)
          packed[row * bytes + (i * bits + bit) / 8] |=
              1 << ((i * bits + bit) % 8);
  return packed;
}

TEST(Dense, AllWidthsAndSizes) {
  std::mt19937 engine(1);
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (int64_t k = 1; k < 140; ++k) {
      int64_t n = 1 + k % 3;
      std::vector<uint8_t> codes(n * k);
      for (uint8_t &code : codes)
        code = engine() & ((1 << bits) - 1);
      std::vector<uint8_t> packed = packDense(codes, n, k, bits);
      ASSERT_EQ(packed, slowPack(codes, n, k, bits)) << bits << " " << k;
      ASSERT_EQ(unpackDense(packed, n, k, bits), codes) << bits << " " << k;
      // From the middle of a row.
      int64_t begin = k / 2 / 8 * 8, count = (k - begin) / 2;
      std::vector<uint8_t> part(count);
      unpackDenseRow(packed.data(), begin, count, bits, part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), codes.begin() + begin));
    }
  EXPECT_TRUE(packDense({}, 0, 5, 3).empty());
}

TEST(PackedMatrix, Sizes) {
  Scheme scheme{3, Granularity::Group, 64, ZeroKind::Integer, ScaleKind::F16};
  PlaneSizes sizes = planeSizes(scheme, 5, 130);
  EXPECT_EQ(sizes.codes, 5 * 49);
  EXPECT_EQ(sizes.scales, 5 * 3 * 2);
  EXPECT_EQ(sizes.offsets, 5 * 2);
  EXPECT_EQ(sizes.total(), 245 + 30 + 10);
  scheme.zero = ZeroKind::Minimum;
  scheme.scaleType = ScaleKind::F32;
  EXPECT_EQ(planeSizes(scheme, 5, 130).offsets, 5 * 3 * 4);
  scheme.granularity = Granularity::Tensor;
  scheme.zero = ZeroKind::Symmetric;
  EXPECT_EQ(planeSizes(scheme, 5, 130).scales, 4);
  EXPECT_EQ(planeSizes(scheme, 5, 130).offsets, 0);
  EXPECT_STREQ(layoutName(Layout::Dense), "dense");
}

TEST(PackedMatrix, UnpackIsTheInverseAndRowsAgree) {
  std::mt19937 engine(4);
  for (int trial = 0; trial < 400; ++trial) {
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 6;
    int64_t k = 1 + engine() % (trial % 40 == 0 ? 9000 : 200);
    std::vector<float> w = randomFloats(n * k, trial);
    QuantizedMatrix q = quantizeRoundToNearest(
        w, n, k, scheme, {SearchKind::LeastSquares, trial % 2 == 0});
    PackedStorage packed = pack(q);
    ASSERT_EQ(verify(packed.view()), "");
    int64_t bytes = 0;
    packed.forEachPlane(
        [&](const char *, auto &plane) { bytes += plane.size(); });
    ASSERT_EQ(bytes, planeSizes(q.scheme, n, k).total());
    ASSERT_TRUE(sameBytes(unpack(packed.view()), q)) << trial;
    std::vector<float> all = dequantized(q), out(n * k);
    int64_t begin = n / 2;
    dequantizeRows(packed.view(), 0, begin, out.data());
    dequantizeRows(packed.view(), begin, n, out.data() + begin * k);
    ASSERT_EQ(std::memcmp(all.data(), out.data(), n * k * sizeof(float)), 0)
        << trial;
  }
}

TEST(PackedMatrix, VerifyPlanes) {
  Scheme scheme;
  QuantizedMatrix q =
      quantizeRoundToNearest(randomFloats(3 * 70, 1), 3, 70, scheme, {});
  PackedStorage good = pack(q), bad = good;
  EXPECT_EQ(verify(good.view()), "");
  bad.codes.pop_back();
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.scales.push_back(0);
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.offsets.clear();
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.scheme.bits = 1;
  EXPECT_NE(verify(bad.view()), "");
}

TEST(PackedMatrix, NestedPlanes) {
  Scheme scheme{4,
                Granularity::Group,
                64,
                ZeroKind::Symmetric,
                ScaleKind::F32,
                CodeTable::NF4,
                Nesting::Dynamic};
  PlaneSizes sizes = planeSizes(scheme, 300, 64);
  EXPECT_EQ(sizes.scales, 300);
  EXPECT_EQ(sizes.nestedScales, 2 * 4);
  EXPECT_EQ(sizes.nestedOffset, 4);
  PackedStorage good = pack(
      quantizeRoundToNearest(randomFloats(300 * 64, 1), 300, 64, scheme, {}));
  EXPECT_EQ(verify(good.view()), "");
  PackedStorage bad = good;
  bad.nestedScales.pop_back();
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.nestedOffset.clear();
  EXPECT_NE(verify(bad.view()), "");
  scheme.scaleType = ScaleKind::E4M3;
  scheme.nesting = Nesting::PerTensor;
  EXPECT_EQ(planeSizes(scheme, 300, 64).nestedScales, 4);
  EXPECT_EQ(planeSizes(scheme, 300, 64).nestedOffset, 0);
}

} // namespace
