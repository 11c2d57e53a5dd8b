//===- Convert.cpp - Half precision to float and back ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/TargetClones.h"
#include "quantopt/Runtime/Matrix.h"

#include <bit>
#include <cstring>

using namespace quantopt;

// Integer arithmetic only, without branches: the compiler vectorises it for
// any target, and the same bits come out everywhere. On x86 a copy for the
// wider vectors is chosen at load time.
static inline float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16;
  uint32_t magnitude = half & 0x7fff;
  // Move the exponent into place as if it had f32's range, then scale by the
  // difference of the biases; this is exact for subnormals too.
  float scaled = std::bit_cast<float>(magnitude << 13) *
                 std::bit_cast<float>(uint32_t(254 - 15) << 23);
  uint32_t bits = std::bit_cast<uint32_t>(scaled);
  bits |= magnitude >= 0x7c00 ? 0x7f800000u : 0u;
  return std::bit_cast<float>(bits | sign);
}

static inline uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = (bits >> 16) & 0x8000;
  uint32_t magnitude = bits & 0x7fffffff;
  // Normal: rebias and round to nearest even on the 13 bits that go.
  uint32_t rounded =
      (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // Subnormal: adding 0.5 lets the float adder round at half's last bit.
  uint32_t tiny =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
      std::bit_cast<uint32_t>(0.5f);
  uint32_t result = magnitude < (113u << 23) ? tiny : rounded;
  result = magnitude >= 0x477ff000u ? 0x7c00u : result; // rounds to infinity
  result = magnitude > 0x7f800000u ? 0x7e00u : result;  // NaN
  return uint16_t(sign | result);
}

static inline uint16_t floatToBfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  bool nan = (bits & 0x7fffffff) > 0x7f800000u;
  return uint16_t(nan ? (bits >> 16) | 0x40 : rounded);
}

QUANTOPT_CLONES
static void widenHalf(const uint16_t *from, int64_t count, float *to) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = halfToFloat(from[i]);
}

QUANTOPT_CLONES
static void widenBfloat(const uint16_t *from, int64_t count, float *to) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = std::bit_cast<float>(uint32_t(from[i]) << 16);
}

QUANTOPT_CLONES
static void narrowHalf(const float *from, int64_t count, uint16_t *to) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = floatToHalf(from[i]);
}

QUANTOPT_CLONES
static void narrowBfloat(const float *from, int64_t count, uint16_t *to) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = floatToBfloat(from[i]);
}

void quantopt::widen(FloatKind kind, const void *from, int64_t count,
                     float *to) {
  switch (kind) {
  case FloatKind::F32:
    std::memcpy(to, from, count * sizeof(float));
    return;
  case FloatKind::F16:
    return widenHalf(static_cast<const uint16_t *>(from), count, to);
  case FloatKind::BF16:
    return widenBfloat(static_cast<const uint16_t *>(from), count, to);
  }
}

void quantopt::narrow(FloatKind kind, const float *from, int64_t count,
                      void *to) {
  switch (kind) {
  case FloatKind::F32:
    std::memcpy(to, from, count * sizeof(float));
    return;
  case FloatKind::F16:
    return narrowHalf(from, count, static_cast<uint16_t *>(to));
  case FloatKind::BF16:
    return narrowBfloat(from, count, static_cast<uint16_t *>(to));
  }
}
