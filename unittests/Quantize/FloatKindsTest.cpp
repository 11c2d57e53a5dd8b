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

#include "quantopt/Quantize/Scheme.h"

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

} // namespace
