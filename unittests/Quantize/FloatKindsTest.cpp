//===- FloatKindsTest.cpp - Tests of the 16-bit float types ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exhaustive over all 16-bit patterns.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/FloatKinds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace quantopt;

namespace {

TEST(FloatKinds, KnownHalfValues) {
  auto half = [](float value) { return roundTo(FloatKind::F16, value); };
  EXPECT_EQ(half(1.0f), 1.0f);
  EXPECT_EQ(half(0.1f), 0.0999755859375f);
  EXPECT_EQ(half(1.00048828125f), 1.0f);         // tie, to even
  EXPECT_EQ(half(1.00146484375f), 1.001953125f); // tie, to even
  EXPECT_EQ(half(65504.0f), 65504.0f);
  EXPECT_EQ(half(65520.0f), 65504.0f); // would be infinite
  EXPECT_EQ(half(-1e30f), -65504.0f);
  EXPECT_EQ(half(0x1p-24f), 0x1p-24f);
  EXPECT_EQ(half(0x1p-25f), 0.0f); // tie, to even
  EXPECT_EQ(half(0x1.8p-24f), 0x1p-23f);
  EXPECT_EQ(half(std::numeric_limits<float>::infinity()), 65504.0f);
  EXPECT_TRUE(std::isnan(half(std::nanf(""))));
  EXPECT_TRUE(std::signbit(half(-0.0f)));
  EXPECT_EQ(encodeFloat(FloatKind::F16, 1.0f), 0x3c00u);
  EXPECT_EQ(encodeFloat(FloatKind::F16, -2.0f), 0xc000u);
  EXPECT_EQ(encodeFloat(FloatKind::F16, 0.1f), 0x2e66u);
  EXPECT_EQ(encodeFloat(FloatKind::F16, 0x1p-24f), 1u);
}

TEST(FloatKinds, KnownBrainValues) {
  auto brain = [](float value) { return roundTo(FloatKind::BF16, value); };
  EXPECT_EQ(brain(0.1f), 0.10009765625f);
  EXPECT_EQ(brain(1.00390625f), 1.0f);      // tie, to even
  EXPECT_EQ(brain(1.01171875f), 1.015625f); // tie, to even
  EXPECT_EQ(encodeFloat(FloatKind::BF16, brain(3.4e38f)), 0x7f7fu);
  EXPECT_EQ(encodeFloat(FloatKind::BF16, 1.0f), 0x3f80u);
  EXPECT_TRUE(std::isnan(decodeFloat(
      FloatKind::BF16, encodeFloat(FloatKind::BF16, std::nanf("1")))));
  EXPECT_EQ(encodeFloat(FloatKind::F32, 1.0f), 0x3f800000u);
}

/// Every finite value stands for itself, and between two neighbours everything
/// goes to the nearer one, the middle to the one with the even pattern.
void checkAllNeighbours(FloatKind kind, uint32_t largest) {
  float top = decodeFloat(kind, largest);
  for (uint32_t bits = 0; bits < largest; ++bits) {
    float low = decodeFloat(kind, bits), high = decodeFloat(kind, bits + 1);
    ASSERT_LT(low, high);
    ASSERT_EQ(encodeFloat(kind, low), bits);
    ASSERT_EQ(encodeFloat(kind, -low), bits | 0x8000u);
    ASSERT_EQ(decodeFloat(kind, bits | 0x8000u), -low);
    // Exact in f32, but for the subnormals of bf16, which f32 has as well.
    float middle = static_cast<float>((double(low) + high) / 2);
    if (double(middle) != (double(low) + high) / 2)
      continue;
    ASSERT_EQ(roundTo(kind, middle), bits % 2 ? high : low) << bits;
    ASSERT_EQ(roundTo(kind, std::nextafter(middle, 0.0f)), low) << bits;
    ASSERT_EQ(roundTo(kind, std::nextafter(middle, top)), high) << bits;
  }
  EXPECT_EQ(roundTo(kind, top), top);
  EXPECT_EQ(roundTo(kind, std::numeric_limits<float>::max()), top);
}

TEST(FloatKinds, AllHalfNeighbours) {
  checkAllNeighbours(FloatKind::F16, 0x7bff);
}

TEST(FloatKinds, AllBrainNeighbours) {
  checkAllNeighbours(FloatKind::BF16, 0x7f7f);
}

TEST(ScaleKinds, WideOnesAreFloatKinds) {
  for (float value : {0.1f, -3.3f, 1e-7f, 1e30f}) {
    EXPECT_EQ(roundTo(ScaleKind::F16, value), roundTo(FloatKind::F16, value));
    EXPECT_EQ(roundTo(ScaleKind::BF16, value), roundTo(FloatKind::BF16, value));
    EXPECT_EQ(encodeFloat(ScaleKind::F32, value),
              encodeFloat(FloatKind::F32, value));
  }
}

TEST(ScaleKinds, KnownE4M3Values) {
  auto decode = [](uint32_t bits) {
    return decodeFloat(ScaleKind::E4M3, bits);
  };
  EXPECT_EQ(decode(0x38), 1.0f);
  EXPECT_EQ(decode(0x7e), 448.0f);
  EXPECT_EQ(decode(0x08), 0x1p-6f);
  EXPECT_EQ(decode(0x01), 0x1p-9f);
  EXPECT_EQ(decode(0xc0), -2.0f);
  EXPECT_TRUE(std::isnan(decode(0x7f)));
  EXPECT_EQ(roundTo(ScaleKind::E4M3, 1e30f), 448.0f);
  EXPECT_EQ(roundTo(ScaleKind::E4M3, 0.0f), 0.0f);
  EXPECT_EQ(roundTo(ScaleKind::E4M3, 0x1p-10f), 0.0f); // tie, to even
  EXPECT_EQ(encodeFloat(ScaleKind::E4M3, -1.0f), 0xb8u);
}

TEST(ScaleKinds, AllE4M3Neighbours) {
  for (uint32_t bits = 0; bits < 0x7e; ++bits) {
    float low = decodeFloat(ScaleKind::E4M3, bits);
    float high = decodeFloat(ScaleKind::E4M3, bits + 1);
    ASSERT_LT(low, high);
    ASSERT_EQ(encodeFloat(ScaleKind::E4M3, low), bits);
    float middle = (low + high) / 2;
    auto round = [](float value) { return roundTo(ScaleKind::E4M3, value); };
    ASSERT_EQ(round(middle), bits % 2 ? high : low) << bits;
    ASSERT_EQ(round(std::nextafter(middle, 0.0f)), low) << bits;
    ASSERT_EQ(round(std::nextafter(middle, 500.0f)), high) << bits;
    ASSERT_EQ(round(-middle), -round(middle)) << bits;
  }
}

TEST(ScaleKinds, AllPowers) {
  auto round = [](float value) { return roundTo(ScaleKind::E8M0, value); };
  for (uint32_t bits = 0; bits < 0xff; ++bits) {
    float power = decodeFloat(ScaleKind::E8M0, bits);
    ASSERT_EQ(power, std::exp2(static_cast<float>(bits) - 127.0f));
    ASSERT_EQ(encodeFloat(ScaleKind::E8M0, power), bits);
    ASSERT_EQ(round(power * 1.25f), power);
    if (bits < 0xfe)
      ASSERT_EQ(round(power * 1.5f), 2 * power);
  }
  EXPECT_TRUE(std::isnan(decodeFloat(ScaleKind::E8M0, 0xff)));
  EXPECT_EQ(encodeFloat(ScaleKind::E8M0, std::nanf("")), 0xffu);
  EXPECT_EQ(round(std::numeric_limits<float>::max()), 0x1p127f);
  EXPECT_EQ(round(0.0f), 0x1p-127f);
  EXPECT_EQ(round(-4.0f), 0x1p-127f);
}

} // namespace
