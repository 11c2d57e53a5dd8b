//===- Lanes.h - Sixteen floats at once -------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The inner loops of this library are written on vectors of 16 floats, with one
// partial sum per lane. The compiler splits them where registers are narrower,
// so that each of the versions below computes the same bits. Multiplications
// and additions are never contracted in this library (-ffp-contract=off).
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_LANES_H
#define QUANTOPT_LIB_QUANTIZE_LANES_H

#include "quantopt/Quantize/TargetClones.h"

#include <cstdint>
#include <cstring>

/// For helpers of such functions: they must be compiled for its level.
#define QUANTOPT_INLINE static inline __attribute__((always_inline))

namespace quantopt {

inline constexpr int64_t kLanes = 16;

using FloatLanes = float __attribute__((ext_vector_type(16)));
using IntLanes = int32_t __attribute__((ext_vector_type(16)));
using ByteLanes = uint8_t __attribute__((ext_vector_type(16)));

/// `count` rounded up to whole vectors.
inline int64_t roundUpToLanes(int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

/// Adding it to a value of magnitude below 2^22 leaves the nearest integer,
/// ties to even, in the low bits; every instruction set has that addition.
inline constexpr float kRoundingOffset = 12582912.0f; // 1.5 * 2^23

// Vectors are passed through references, as wide ones have no common calling
// convention.

QUANTOPT_INLINE void load(FloatLanes &to, const float *from) {
  std::memcpy(&to, from, sizeof(to));
}
QUANTOPT_INLINE void store(float *to, const FloatLanes &from) {
  std::memcpy(to, &from, sizeof(from));
}

/// Clamps `x` to [0, largest]; a NaN becomes 0.
QUANTOPT_INLINE void clampToCodes(FloatLanes &x, float largest) {
  FloatLanes zero = 0.0f, top = largest;
  x = x > zero ? x : zero;
  x = x < top ? x : top;
}

/// The sum of all lanes, always in this order: halves are added until one lane
/// is left.
QUANTOPT_INLINE float sumLanes(const FloatLanes &x) {
  auto a = x.lo + x.hi;
  auto b = a.lo + a.hi;
  auto c = b.lo + b.hi;
  return c.x + c.y;
}

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_LANES_H
