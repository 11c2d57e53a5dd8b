//===- FitKernels.h - Inner loops of the parameter search -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The two passes over a group that every candidate of the search costs, and the
// choice of codes.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_FITKERNELS_H
#define QUANTOPT_LIB_QUANTIZE_FITKERNELS_H

#include "CodeTables.h"

#include <cstdint>
#include <vector>

namespace quantopt {

/// A group laid out for the loops below: whole vectors, the spare lanes of the
/// last one with weight 0. Values have `center` subtracted.
struct FitGroup {
  std::vector<float> values; ///< w - center
  const float *weights;      ///< importance d, shared between rows
  /// Second moments of the inputs [padded, padded], 0 in the spare lanes, or
  /// null; at most kMostMoments columns.
  const float *moments = nullptr;
  std::vector<float> weighted; ///< d * (w - center)
  int64_t padded = 0;          ///< length of each, a multiple of kLanes
  float low = 0, high = 0;     ///< extremes of w, not centered
  float center = 0;
  double sumWeights = 0, sumWeighted = 0;
};

/// Values to codes: code = clamp(round(value * inverse + offset), 0, largest).
/// With a table the nearest of its values instead, to value * inverse.
struct CodeMap {
  float inverse, offset, largest;
  const SortedTable *table = nullptr;
};

/// Sums over a group, with c = code - shift: d c, d c^2 and d c w.
struct CodeSums {
  double code, square, product;
};

CodeSums sumCodes(const FitGroup &group, const CodeMap &map, float shift);

/// sum d ((code - shift) * scale + base - w)^2.
double sumErrors(const FitGroup &group, const CodeMap &map, float shift,
                 float scale, float base);

/// The largest group whose error takes moments.
inline constexpr int64_t kMostMoments = 512;

/// e M e^T for the differences e that sumErrors squares, M the moments.
double sumOutputErrors(const FitGroup &group, const CodeMap &map, float shift,
                       float scale, float base);

/// Fills the rest of a group whose `values` holds `count` values of w and whose
/// `weights` is set. With `centered`, moves the middle of their range to 0.
void prepareGroup(FitGroup &group, int64_t count, bool centered);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_FITKERNELS_H
