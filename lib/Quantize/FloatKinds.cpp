//===- FloatKinds.cpp - Floats in 16 and 32 bits --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rounding to F16 and BF16 in integer arithmetic: no hardware support and no
// compiler library is needed, and the bits are the same everywhere.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/FloatKinds.h"

#include <bit>
#include <cmath>
#include <limits>

using namespace quantopt;

unsigned quantopt::bitWidth(FloatKind kind) {
  return kind == FloatKind::F32 ? 32 : 16;
}

static constexpr uint32_t kSignBit = 0x80000000u;

/// `bits` of a finite f32 magnitude with its low `drop` bits rounded away, to
/// nearest even. A carry out of the mantissa raises the exponent, as it should.
static uint32_t roundBits(uint32_t bits, unsigned drop) {
  uint32_t lowest = (bits >> drop) & 1;
  bits += (1u << (drop - 1)) - 1 + lowest;
  return bits & ~((1u << drop) - 1);
}

static float roundToHalf(float magnitude) {
  constexpr float kLargest = 65504.0f;
  constexpr float kSmallestNormal = 0x1p-14f;
  // Below the normal range all values of F16 are multiples of 2^-24, which is
  // the spacing of f32 in [.5, 1): adding .5 rounds to it.
  if (magnitude < kSmallestNormal)
    return (magnitude + 0.5f) - 0.5f;
  float rounded =
      std::bit_cast<float>(roundBits(std::bit_cast<uint32_t>(magnitude), 13));
  return rounded > kLargest ? kLargest : rounded;
}

static float roundToBrain(float magnitude) {
  const float largest = std::bit_cast<float>(0x7f7f0000u);
  float rounded =
      std::bit_cast<float>(roundBits(std::bit_cast<uint32_t>(magnitude), 16));
  return rounded > largest ? largest : rounded;
}

float quantopt::roundTo(FloatKind kind, float value) {
  if (std::isnan(value))
    return value;
  float magnitude = std::fabs(value);
  if (std::isinf(magnitude))
    magnitude = std::numeric_limits<float>::max();
  switch (kind) {
  case FloatKind::F16:
    magnitude = roundToHalf(magnitude);
    break;
  case FloatKind::BF16:
    magnitude = roundToBrain(magnitude);
    break;
  case FloatKind::F32:
    break;
  }
  return std::copysign(magnitude, value);
}

uint32_t quantopt::encodeFloat(FloatKind kind, float value) {
  float rounded = roundTo(kind, value);
  uint32_t bits = std::bit_cast<uint32_t>(rounded);
  if (kind == FloatKind::F32)
    return bits;
  if (kind == FloatKind::BF16)
    // A NaN whose payload sits in the low half must not become an infinity.
    return (bits >> 16) | (std::isnan(rounded) ? 0x40u : 0u);
  uint32_t sign = (bits & kSignBit) >> 16;
  if (std::isnan(rounded))
    return sign | 0x7e00u;
  float magnitude = std::fabs(rounded);
  if (magnitude < 0x1p-14f)
    return sign | static_cast<uint32_t>(magnitude * 0x1p24f);
  // Move the exponent bias from 127 to 15.
  return sign | (((bits & ~kSignBit) >> 13) - ((127u - 15u) << 10));
}

float quantopt::decodeFloat(FloatKind kind, uint32_t bits) {
  if (kind == FloatKind::F32)
    return std::bit_cast<float>(bits);
  if (kind == FloatKind::BF16)
    return std::bit_cast<float>(bits << 16);
  uint32_t sign = (bits & 0x8000u) << 16;
  uint32_t exponent = (bits >> 10) & 31;
  uint32_t mantissa = bits & 0x3ffu;
  float magnitude;
  if (exponent == 0)
    magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  else if (exponent == 31)
    magnitude = std::bit_cast<float>(0x7f800000u | (mantissa << 13));
  else
    magnitude =
        std::bit_cast<float>(((exponent + 112) << 23) | (mantissa << 13));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}
