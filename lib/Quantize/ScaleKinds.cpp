//===- ScaleKinds.cpp - Scales in 8, 16 and 32 bits -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What FloatKinds.cpp has not: the types of one byte.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/FloatKinds.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

using namespace quantopt;

/// Whether `kind` is one of FloatKind, which has the same numbers.
static bool isWide(ScaleKind kind) { return kind <= ScaleKind::F32; }
static FloatKind asFloatKind(ScaleKind kind) {
  return static_cast<FloatKind>(kind);
}

unsigned quantopt::bitWidth(ScaleKind kind) {
  return isWide(kind) ? bitWidth(asFloatKind(kind)) : 8;
}

bool quantopt::isSigned(ScaleKind kind) { return isWide(kind); }

/// The byte of the power of two nearest to `value`.
static uint32_t encodePower(float value) {
  if (std::isnan(value))
    return 0xff;
  if (!(value > 0x1p-127f))
    return 0;
  if (std::isinf(value))
    return 0xfe;
  int exponent;
  float fraction = std::frexp(value, &exponent); // in [.5, 1)
  return std::min(exponent - 1 + (fraction >= 0.75f) + 127, 0xfe);
}

/// The bits of the magnitude nearest to `value`, ties to even.
static uint32_t encodeE4M3(float value) {
  if (std::isnan(value))
    return 0x7f;
  uint32_t sign = std::signbit(value) ? 0x80 : 0;
  float magnitude = std::min(std::fabs(value), 448.0f);
  // Below the normal range all values are multiples of 2^-9.
  if (magnitude < 0x1p-6f)
    return sign | static_cast<uint32_t>(std::nearbyint(magnitude * 0x1p9f));
  uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  // Away with 20 bits of the mantissa; a carry raises the exponent.
  bits += (1u << 19) - 1 + ((bits >> 20) & 1);
  // Move the exponent bias from 127 to 7.
  return sign | ((bits >> 20) - ((127u - 7u) << 3));
}

static float decodeE4M3(uint32_t bits) {
  if ((bits & 0x7f) == 0x7f)
    return std::numeric_limits<float>::quiet_NaN();
  uint32_t exponent = (bits >> 3) & 15, mantissa = bits & 7;
  float magnitude =
      exponent == 0
          ? static_cast<float>(mantissa) * 0x1p-9f
          : std::bit_cast<float>(((exponent + 120) << 23) | (mantissa << 20));
  return bits & 0x80 ? -magnitude : magnitude;
}

uint32_t quantopt::encodeFloat(ScaleKind kind, float value) {
  if (kind == ScaleKind::E8M0)
    return encodePower(value);
  if (kind == ScaleKind::E4M3)
    return encodeE4M3(value);
  return encodeFloat(asFloatKind(kind), value);
}

float quantopt::decodeFloat(ScaleKind kind, uint32_t bits) {
  if (kind == ScaleKind::E8M0)
    return bits == 0xff ? std::numeric_limits<float>::quiet_NaN()
                        : std::ldexp(1.0f, static_cast<int>(bits) - 127);
  if (kind == ScaleKind::E4M3)
    return decodeE4M3(bits);
  return decodeFloat(asFloatKind(kind), bits);
}

float quantopt::roundTo(ScaleKind kind, float value) {
  if (isWide(kind))
    return roundTo(asFloatKind(kind), value);
  return decodeFloat(kind, encodeFloat(kind, value));
}
