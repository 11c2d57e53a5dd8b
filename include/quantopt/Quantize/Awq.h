//===- Awq.h - Scales by the magnitude of the inputs ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// AWQ (Lin et al., 2023): weights that large inputs multiply matter more. Their
// columns are multiplied by a scale before rounding and the input by its
// inverse, which changes nothing but the error of rounding.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_AWQ_H
#define QUANTOPT_QUANTIZE_AWQ_H

#include "quantopt/Quantize/Hessian.h"
#include "quantopt/Quantize/Search.h"

namespace quantopt {

/// The mean magnitude of each of `k` input columns over all rows, [k], summed
/// in f64; 0 if there is no row. The same for any number of threads.
std::vector<float> meanMagnitudes(std::span<const RowBlock> samples, int64_t k);

/// One of the linears that read an input: its weight [n, k], row-major, and how
/// it is going to be rounded.
struct AwqWeight {
  std::span<const float> values;
  int64_t n = 0;
  Scheme scheme;
  SearchOptions search;
};

/// What is known of the input.
struct AwqInput {
  std::span<const float> hessian;   ///< [k, k], symmetric
  std::span<const float> magnitude; ///< [k], see meanMagnitudes
};

struct AwqOptions {
  /// Candidates are compared on so many rows of each weight, spread evenly over
  /// it; 0: on all. Each row counts with its exact error on all inputs, and
  /// rows are many samples of one curve, so that some hundreds settle the
  /// choice at a fraction of the cost.
  int64_t sampleRows = 256;
};

struct AwqScales {
  /// Not empty if nothing was found: a bad scheme or size, or a value that is
  /// not finite.
  std::string error;
  /// By which the columns of the weights are to be multiplied, [k]; all 1 if
  /// nothing was better. Positive; the product of the smallest and the largest
  /// is about 1.
  std::vector<float> scales;
  double alpha = 0;         ///< exponent of the magnitude
  bool usesWeights = false; ///< whether the weights' own magnitude counted
  /// The squared output error, summed over all weights and rows, when rounded
  /// with these scales and with none.
  double objective = 0, plainObjective = 0;

  /// Whether any scale differs from 1.
  bool isScaled() const { return objective < plainObjective; }
};

/// The scales of least squared output error of all `weights` [n, k] together:
/// of s = x^alpha, alpha = 0, 1/20, .. 19/20, with the mean magnitude x of the
/// input, and the same divided by m^(1 - alpha), m the mean magnitude of the
/// weights in units of the largest of their group.
///
/// The error is tr(D H D^T) for D = dequantized / s - w, rounded to nearest as
/// each weight says, in a search weighted with the diagonal of H / s^2. Taken
/// on all rows it is never above that of no scales. The same for any number of
/// OpenMP threads.
AwqScales searchAwqScales(std::span<const AwqWeight> weights, int64_t k,
                          const AwqInput &input,
                          const AwqOptions &options = {});

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_AWQ_H
