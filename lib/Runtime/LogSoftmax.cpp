//===- LogSoftmax.cpp - Sums over a row of logits -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On vectors of 16 floats with one partial sum per lane, whatever the width of
// the registers; nothing is contracted. So every host computes the same bits.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/LogSoftmax.h"
#include "quantopt/Quantize/TargetClones.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#pragma clang fp contract(off)

using namespace quantopt;

/// For helpers of such functions: they must be compiled for its level. Vectors
/// pass through references, as wide ones have no common calling convention.
#define QUANTOPT_INLINE static inline __attribute__((always_inline))

static constexpr int64_t kLanes = 16;
using FloatLanes = float __attribute__((ext_vector_type(16)));
using IntLanes = int32_t __attribute__((ext_vector_type(16)));
using DoubleLanes = double __attribute__((ext_vector_type(16)));

/// Logarithm of about the smallest normal number; below it exp gives 0.
static constexpr float kLowest = -87.0f;
/// Beyond the end of a row: its exponential is 0.
static constexpr float kNothing = -std::numeric_limits<float>::infinity();

/// Sixteen values from `from` on; where the row ends earlier, `fill`.
QUANTOPT_INLINE void load(FloatLanes &to, const float *from, int64_t left,
                          float fill) {
  if (left >= kLanes) {
    std::memcpy(&to, from, sizeof(to));
    return;
  }
  to = fill;
  for (int64_t i = 0; i < left; ++i)
    to[i] = from[i];
}

/// e^x for x <= 0, to about one unit in the last place; NaN stays NaN.
QUANTOPT_INLINE void expLanes(FloatLanes &x) {
  // x = n log 2 + r with |r| <= log(2) / 2. Adding 1.5 * 2^23 leaves n in the
  // low bits; the logarithm has two parts, of which the first is short, so that
  // its product with n is exact.
  const FloatLanes offset = 12582912.0f;
  FloatLanes clamped = x < kLowest ? FloatLanes(kLowest) : x;
  FloatLanes shifted = clamped * 1.44269504f + offset;
  FloatLanes n = shifted - offset;
  FloatLanes r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  // The polynomial of Cephes' expf.
  FloatLanes p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^n: n is at least -126.
  IntLanes exponent = (__builtin_bit_cast(IntLanes, shifted) + 127) << 23;
  p *= __builtin_bit_cast(FloatLanes, exponent);
  x = x < kLowest ? FloatLanes(0.0f) : p;
}

/// The largest value; NaNs are passed over.
QUANTOPT_CLONES static float largest(const float *row, int64_t count) {
  FloatLanes most = kNothing;
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes x;
    load(x, row + i, count - i, kNothing);
    most = x > most ? x : most;
  }
  float result = most[0];
  for (int lane = 1; lane < kLanes; ++lane)
    result = std::max(result, most[lane]);
  return result;
}

/// The sum of e^(row - maximum).
QUANTOPT_CLONES static double sumOfExponentials(const float *row, int64_t count,
                                                float maximum) {
  DoubleLanes sum = 0.0;
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes x;
    load(x, row + i, count - i, kNothing);
    x -= maximum;
    expLanes(x);
    sum += __builtin_convertvector(x, DoubleLanes);
  }
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    total += sum[lane];
  return total;
}

/// The sum of e^a (a - b), for a = p - shiftP and b = q - shiftQ. Where e^a is
/// 0 its limit, 0, is added.
QUANTOPT_CLONES static double sumOfDivergences(const float *p, float shiftP,
                                               const float *q, float shiftQ,
                                               int64_t count) {
  DoubleLanes sum = 0.0;
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes a, b;
    load(a, p + i, count - i, kNothing);
    load(b, q + i, count - i, 0.0f);
    a -= shiftP;
    b -= shiftQ;
    FloatLanes e = a;
    expLanes(e);
    FloatLanes term = a < kLowest ? FloatLanes(0.0f) : e * (a - b);
    sum += __builtin_convertvector(term, DoubleLanes);
  }
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    total += sum[lane];
  return total;
}

LogSoftmax::LogSoftmax(std::span<const float> row) : row(row) {
  int64_t count = row.size();
  float maximum = largest(row.data(), count);
  top = std::find(row.begin(), row.end(), maximum) - row.begin();
  shift =
      maximum + float(std::log(sumOfExponentials(row.data(), count, maximum)));
}

double quantopt::divergence(const LogSoftmax &p, const LogSoftmax &q) {
  return sumOfDivergences(p.row.data(), p.shift, q.row.data(), q.shift,
                          p.row.size());
}
