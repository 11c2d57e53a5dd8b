//===- FitKernels.cpp - Inner loops of the parameter search ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// See FitKernels.h.
//
//===----------------------------------------------------------------------===//

#include "FitKernels.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

/// Vectors summed in f32 before the lanes go to an f64 sum: short enough that a
/// whole matrix as one group loses nothing.
static constexpr int64_t kPiece = 256 * kLanes;

/// code - shift of one vector, or its value in a table, which has no shift.
/// Both the code and the shift are small integers, so that taking the shift off
/// together with the rounding offset is exact.
template <bool hasTable>
QUANTOPT_INLINE void shiftedCodes(FloatLanes &codes, const float *values,
                                  const CodeMap &map, float offsetAndShift) {
  FloatLanes value;
  load(value, values);
  FloatLanes scaled = value * map.inverse;
  if constexpr (hasTable) {
    nearestValues(scaled, *map.table, codes);
    return;
  }
  codes = scaled + map.offset;
  clampToCodes(codes, map.largest);
  codes = (codes + kRoundingOffset) - offsetAndShift;
}

template <bool hasTable>
QUANTOPT_INLINE CodeSums sumCodesLoop(const FitGroup &group, const CodeMap &map,
                                      float shift) {
  const float *values = group.values.data();
  const float *weights = group.weights;
  const float *weighted = group.weighted.data();
  float offsetAndShift = kRoundingOffset + shift;
  CodeSums sums = {0, 0, 0};
  for (int64_t begin = 0; begin < group.padded; begin += kPiece) {
    int64_t end = std::min(begin + kPiece, group.padded);
    FloatLanes code = 0.0f, square = 0.0f, product = 0.0f;
    for (int64_t i = begin; i < end; i += kLanes) {
      FloatLanes c, d, dw;
      shiftedCodes<hasTable>(c, values + i, map, offsetAndShift);
      load(d, weights + i);
      load(dw, weighted + i);
      FloatLanes dc = d * c;
      code += dc;
      square += dc * c;
      product += dw * c;
    }
    sums.code += sumLanes(code);
    sums.square += sumLanes(square);
    sums.product += sumLanes(product);
  }
  return sums;
}

QUANTOPT_CLONES CodeSums quantopt::sumCodes(const FitGroup &group,
                                            const CodeMap &map, float shift) {
  return map.table ? sumCodesLoop<true>(group, map, shift)
                   : sumCodesLoop<false>(group, map, shift);
}

template <bool hasTable>
QUANTOPT_INLINE double sumErrorsLoop(const FitGroup &group, const CodeMap &map,
                                     float shift, float scale, float base) {
  const float *values = group.values.data();
  const float *weights = group.weights;
  float offsetAndShift = kRoundingOffset + shift;
  double sum = 0;
  for (int64_t begin = 0; begin < group.padded; begin += kPiece) {
    int64_t end = std::min(begin + kPiece, group.padded);
    FloatLanes error = 0.0f;
    for (int64_t i = begin; i < end; i += kLanes) {
      FloatLanes c, w, d;
      shiftedCodes<hasTable>(c, values + i, map, offsetAndShift);
      load(w, values + i);
      load(d, weights + i);
      FloatLanes value = c * scale;
      FloatLanes difference = (value + base) - w;
      error += (d * difference) * difference;
    }
    sum += sumLanes(error);
  }
  return sum;
}

QUANTOPT_CLONES double quantopt::sumErrors(const FitGroup &group,
                                           const CodeMap &map, float shift,
                                           float scale, float base) {
  return map.table ? sumErrorsLoop<true>(group, map, shift, scale, base)
                   : sumErrorsLoop<false>(group, map, shift, scale, base);
}

/// (e M)_j e_j summed over `width` vectors of columns from `column` on.
template <int width>
QUANTOPT_INLINE double sumColumns(const float *moments, int64_t padded,
                                  const float *e, int64_t column) {
  FloatLanes products[width] = {};
  for (int64_t i = 0; i < padded; ++i)
    for (int v = 0; v < width; ++v) {
      FloatLanes m;
      load(m, moments + i * padded + column + v * kLanes);
      products[v] += m * e[i];
    }
  double sum = 0;
  for (int v = 0; v < width; ++v) {
    FloatLanes own;
    load(own, e + column + v * kLanes);
    FloatLanes product = products[v] * own;
    sum += sumLanes(product);
  }
  return sum;
}

template <bool hasTable>
QUANTOPT_INLINE double sumOutputErrorsLoop(const FitGroup &group,
                                           const CodeMap &map, float shift,
                                           float scale, float base) {
  float e[kMostMoments];
  int64_t padded = group.padded;
  for (int64_t i = 0; i < padded; i += kLanes) {
    FloatLanes c, w;
    shiftedCodes<hasTable>(c, group.values.data() + i, map,
                           kRoundingOffset + shift);
    load(w, group.values.data() + i);
    FloatLanes value = c * scale;
    FloatLanes difference = (value + base) - w;
    store(e + i, difference);
  }
  // Several vectors at once, so that their additions overlap.
  constexpr int kWidth = 4;
  double sum = 0;
  int64_t column = 0;
  for (; column + kWidth * kLanes <= padded; column += kWidth * kLanes)
    sum += sumColumns<kWidth>(group.moments, padded, e, column);
  for (; column < padded; column += kLanes)
    sum += sumColumns<1>(group.moments, padded, e, column);
  return sum;
}

QUANTOPT_CLONES double quantopt::sumOutputErrors(const FitGroup &group,
                                                 const CodeMap &map,
                                                 float shift, float scale,
                                                 float base) {
  return map.table ? sumOutputErrorsLoop<true>(group, map, shift, scale, base)
                   : sumOutputErrorsLoop<false>(group, map, shift, scale, base);
}

QUANTOPT_CLONES void quantopt::prepareGroup(FitGroup &group, int64_t count,
                                            bool centered) {
  float *values = group.values.data();
  const float *weights = group.weights;
  group.padded = roundUpToLanes(count);
  // The spare lanes repeat a value, so that the extremes do not see them.
  for (int64_t i = count; i < group.padded; ++i)
    values[i] = values[0];
  FloatLanes low, high;
  load(low, values);
  high = low;
  for (int64_t i = kLanes; i < group.padded; i += kLanes) {
    FloatLanes value;
    load(value, values + i);
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  group.low = low[0];
  group.high = high[0];
  for (int lane = 1; lane < kLanes; ++lane) {
    group.low = std::min(group.low, low[lane]);
    group.high = std::max(group.high, high[lane]);
  }
  group.center = centered ? group.low * 0.5f + group.high * 0.5f : 0.0f;
  group.sumWeights = group.sumWeighted = 0;
  for (int64_t begin = 0; begin < group.padded; begin += kPiece) {
    int64_t end = std::min(begin + kPiece, group.padded);
    FloatLanes sumWeights = 0.0f, sumWeighted = 0.0f;
    for (int64_t i = begin; i < end; i += kLanes) {
      FloatLanes value, weight;
      load(value, values + i);
      load(weight, weights + i);
      value = value - group.center;
      FloatLanes weighted = weight * value;
      store(values + i, value);
      store(group.weighted.data() + i, weighted);
      sumWeights += weight;
      sumWeighted += weighted;
    }
    group.sumWeights += sumLanes(sumWeights);
    group.sumWeighted += sumLanes(sumWeighted);
  }
}
