//===- GridHistogram.h - Weights over their grid ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How the weights of a matrix lie on the values that their codes can stand for:
// a few dozen counts, for people to look at.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_GRIDHISTOGRAM_H
#define QUANTOPT_QUANTIZE_GRIDHISTOGRAM_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// Counts of values in equal bins between `from` and `to`; values outside are
/// in the first and the last.
struct Histogram {
  double from = 0, to = 0;
  std::vector<int64_t> counts;
};

/// The weights of one matrix, twice: in the units of each group, where all
/// groups have one grid, and as they are.
struct GridHistogram {
  /// Values of the codes 0, 1, ... under scale 1 and offset 0.
  std::vector<float> unitGrid;
  /// Each weight moved with its group's grid onto `unitGrid`. The bins reach
  /// half a step (range / maxCode) beyond the ends. Weights of groups whose
  /// grid is one value only have no place on it and are not counted.
  Histogram units;
  /// How often each code is stored, in the groups that are counted in `units`.
  std::vector<int64_t> codeCounts;
  /// Weights more than half a step beyond the ends of their grid.
  int64_t beyond = 0;

  /// The grid of the group whose range is the median of all.
  std::vector<float> typicalGrid;
  /// The weights, with bins between the extremes but at most 6 standard
  /// deviations from the mean.
  Histogram absolute;
  double minimum = 0, maximum = 0, deviation = 0; ///< of all weights
};

/// Counts `w`, the [n, k] floats that `matrix` stands for, into `bins` bins.
/// Both must be well formed (verify), `w` finite and not empty, `bins` at
/// least 1.
GridHistogram gridHistogram(std::span<const float> w,
                            const QuantizedMatrix &matrix, int64_t bins = 64);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_GRIDHISTOGRAM_H
