//===- Numeric.h - The number formats of PTX --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Floats of 8 and 16 bits, and rounding in the directions that PTX has. Narrow
// arithmetic goes through f32 where that rounds the same (sums, products and
// quotients of f16 and bf16), else through an exact pair of f64.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_NUMERIC_H
#define QUANTOPT_LIB_PTXEMULATOR_NUMERIC_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace quantopt::ptx {

enum class Round : uint8_t { NearestEven, Zero, Down, Up, NearestAway };

/// A binary floating-point format of at most 32 bits.
struct FloatFormat {
  int significand; ///< bits, the leading one counted
  int minExponent; ///< of the smallest normal number
  int maxExponent; ///< of the largest
  bool hasInfinity;
};
inline constexpr FloatFormat kF16{11, -14, 15, true};
inline constexpr FloatFormat kBF16{8, -126, 127, true};
inline constexpr FloatFormat kF32{24, -126, 127, true};
inline constexpr FloatFormat kTF32{11, -126, 127, true};
inline constexpr FloatFormat kE5M2{3, -14, 15, true};
/// Its largest exponent has numbers too, up to 448, and one NaN.
inline constexpr FloatFormat kE4M3{4, -6, 8, false};

/// x rounded to a multiple of the unit that `format` has there; may be beyond
/// its largest number.
double roundToFormat(double x, const FloatFormat &format, Round round);
/// Bits of a value in `format`, from the sum of two f64 that is exact: `rest`
/// is less than half a unit of `x`. With `saturate` what is too large becomes
/// the largest number.
uint32_t encodeFloat(double x, double rest, const FloatFormat &format,
                     Round round, bool saturate);
double decodeFloat(uint32_t bits, const FloatFormat &format);

inline float halfToFloat(uint16_t half) {
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
  // Exponents are moved by a product, which makes subnormal numbers normal.
  float scaled =
      std::bit_cast<float>(magnitude) * std::bit_cast<float>((254u - 15) << 23);
  uint32_t bits = std::bit_cast<uint32_t>(scaled);
  if ((half & 0x7c00) == 0x7c00)
    bits = 0x7f800000 | magnitude;
  return std::bit_cast<float>(bits | uint32_t(half & 0x8000) << 16);
}

inline uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return 0x7fff;
  if (bits >= 0x477ff000)
    return sign | 0x7c00;
  if (bits < 0x38800000) {
    float aligned = std::bit_cast<float>(bits) + 0.5f;
    return sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000);
  }
  bits += 0xfff + (bits >> 13 & 1);
  return sign | ((bits - (112u << 23)) >> 13);
}

inline float bfloatToFloat(uint16_t value) {
  return std::bit_cast<float>(uint32_t(value) << 16);
}

inline uint16_t floatToBFloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

struct Half {
  uint16_t bits;
  Half() = default;
  explicit Half(float value) : bits(floatToHalf(value)) {}
  explicit operator float() const { return halfToFloat(bits); }
  static constexpr const FloatFormat &format = kF16;
};

struct BHalf {
  uint16_t bits;
  BHalf() = default;
  explicit BHalf(float value) : bits(floatToBFloat(value)) {}
  explicit operator float() const { return bfloatToFloat(bits); }
  static constexpr const FloatFormat &format = kBF16;
};

/// Two values in one register: f16x2, bf16x2, f32x2.
template <typename T> struct Packed {
  T lo, hi;
};

/// a + b = sum + rest, exactly, unless the sum overflows.
struct ExactSum {
  double sum, rest;
  ExactSum(double a, double b) {
    sum = a + b;
    double bPart = sum - a;
    rest = (a - (sum - bPart)) + (b - bPart);
  }
};

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_NUMERIC_H
