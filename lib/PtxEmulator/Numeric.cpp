//===- Numeric.cpp - The number formats of PTX ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Numeric.h"

using namespace quantopt::ptx;

/// An integer next to x + rest.
static double roundToInteger(double x, double rest, Round round) {
  double below = std::floor(x);
  if (below == x && rest < 0)
    below -= 1; // x + rest lies just below the integer x
  bool exact = below == x && rest == 0;
  if (exact)
    return x;
  // Twice the distance from the middle, by its sign.
  double middle = x - (below + 0.5);
  int side = middle > 0   ? 1
             : middle < 0 ? -1
             : rest > 0   ? 1
             : rest < 0   ? -1
                          : 0;
  switch (round) {
  case Round::Down:
    return below;
  case Round::Up:
    return below + 1;
  case Round::Zero:
    return x < 0 || (x == 0 && rest < 0) ? below + 1 : below;
  case Round::NearestAway:
    if (side == 0)
      return x < 0 ? below : below + 1;
    break;
  case Round::NearestEven:
    if (side == 0)
      return std::fmod(below, 2.0) == 0 ? below : below + 1;
    break;
  }
  return side < 0 ? below : below + 1;
}

/// Exponent of the unit in the last place at x.
static int unitExponent(double x, const FloatFormat &format) {
  int exponent =
      x == 0 ? format.minExponent : std::max(std::ilogb(x), format.minExponent);
  return exponent - (format.significand - 1);
}

static double roundPair(double x, double rest, const FloatFormat &format,
                        Round round) {
  if (!std::isfinite(x) || (x == 0 && rest == 0))
    return x;
  int unit = unitExponent(x, format);
  // Just below a power of two the unit is half as large.
  double magnitude = std::fabs(x);
  bool inwards = x > 0 ? rest < 0 : rest > 0;
  if (inwards && magnitude == std::ldexp(1.0, std::ilogb(x)) &&
      std::ilogb(x) > format.minExponent)
    --unit;
  double scaled =
      roundToInteger(std::ldexp(x, -unit), std::ldexp(rest, -unit), round);
  return std::copysign(std::ldexp(scaled, unit), x);
}

double quantopt::ptx::roundToFormat(double x, const FloatFormat &format,
                                    Round round) {
  return roundPair(x, 0, format, round);
}

uint32_t quantopt::ptx::encodeFloat(double x, double rest,
                                    const FloatFormat &format, Round round,
                                    bool saturate) {
  int mantissaBits = format.significand - 1;
  int bias = 1 - format.minExponent;
  int exponentBits = format.hasInfinity
                         ? std::bit_width(unsigned(format.maxExponent + bias))
                         : 4;
  uint32_t sign = uint32_t(std::signbit(x)) << (exponentBits + mantissaBits);
  uint32_t mantissaMask = (1u << mantissaBits) - 1;
  uint32_t topExponent = ((1u << exponentBits) - 1) << mantissaBits;
  if (std::isnan(x))
    return topExponent | mantissaMask;
  double value = std::fabs(roundPair(x, rest, format, round));
  double largest =
      std::ldexp(2.0 - std::ldexp(1.0, -mantissaBits), format.maxExponent);
  if (!format.hasInfinity)
    largest =
        std::ldexp(2.0 - std::ldexp(2.0, -mantissaBits), format.maxExponent);
  if (value > largest) {
    bool inward = round == Round::Zero || (round == Round::Down && x > 0) ||
                  (round == Round::Up && x < 0);
    if (saturate || (inward && std::isfinite(x)))
      value = largest;
    else
      return sign |
             (format.hasInfinity ? topExponent : topExponent | mantissaMask);
  }
  if (value == 0)
    return sign;
  int exponent = std::max(std::ilogb(value), format.minExponent);
  uint32_t scaled =
      static_cast<uint32_t>(std::ldexp(value, mantissaBits - exponent));
  // A normal number's leading bit adds one to the exponent field.
  return sign | ((uint32_t(exponent + bias - 1) << mantissaBits) + scaled);
}

double quantopt::ptx::decodeFloat(uint32_t bits, const FloatFormat &format) {
  int mantissaBits = format.significand - 1;
  int bias = 1 - format.minExponent;
  int exponentBits = format.hasInfinity
                         ? std::bit_width(unsigned(format.maxExponent + bias))
                         : 4;
  uint32_t mantissa = bits & ((1u << mantissaBits) - 1);
  int exponent = bits >> mantissaBits & ((1u << exponentBits) - 1);
  bool negative = bits >> (mantissaBits + exponentBits) & 1;
  int top = (1 << exponentBits) - 1;
  double value = 0;
  if (exponent == top && format.hasInfinity)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == top && mantissa == (1u << mantissaBits) - 1)
    value = NAN;
  else if (exponent == 0)
    value = std::ldexp(double(mantissa), format.minExponent - mantissaBits);
  else
    value = std::ldexp(double(mantissa + (1u << mantissaBits)),
                       exponent - bias - mantissaBits);
  return negative ? -value : value;
}
