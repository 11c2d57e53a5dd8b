//===- Search.h - Scale and zero of each group ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fits the scale, and the zero point or minimum beside it, of every group of a
// weight matrix: by its extremes, or by a search for the smallest error
// weighted with the importance of each column, refitted by least squares.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_SEARCH_H
#define QUANTOPT_QUANTIZE_SEARCH_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// How group parameters are found.
enum class SearchKind : uint8_t {
  /// From the extremes. Symmetric: scale = 2 max|w| / maxCode. Integer: the
  /// range is widened to hold 0, zero = round(-min / scale). Minimum: the true
  /// minimum and maximum. Table: the least scale at which no weight is beyond
  /// the table; of E8M0, the power of two that OCP MX prescribes.
  None,
  /// 13 ranges of .7 to 1.1 times the extremes (with a table to 1.5), each
  /// refitted by least squares ("lsq" of docs/algorithms).
  LeastSquares,
  /// 5 x 5 ranges, the lower and the upper end apart, each refitted
  /// ("grid2lsq"). Symmetric, and with it a table, has one end only: there it
  /// is LeastSquares.
  Grid,
  /// The extremes of weights cut to 1, .95, ... .55 times the largest
  /// magnitude, not refitted (the clip search of AWQ, Lin et al., 2023).
  Clip,
};

struct SearchOptions {
  SearchKind kind = SearchKind::LeastSquares;
  /// Symmetric only: let the scale be negative, so that the code with no
  /// positive counterpart, -2^(bits-1), can serve the largest magnitude (as
  /// Q4_0 does). A search tries both signs; None follows the largest magnitude.
  /// With a table, too, if that is not the same on both sides of 0. Not where
  /// scales have no sign or are nested.
  bool fullRange = false;

  bool operator==(const SearchOptions &) const = default;
};

/// The parameters of every group, shaped as in QuantizedMatrix.
struct GroupParameters {
  std::vector<float> scales;
  std::vector<float> offsets;
  NestedScales nested = {};
};

/// Fits the parameters of `w` [n, k], row-major, for `scheme`.
///
/// `importance` holds one weight per column (any positive unit: only ratios
/// within a group count), or is empty for equal weights; a group whose weights
/// are all zero is fitted with equal ones. The quantity minimised per group is
/// sum importance * (dequantized - w)^2, measured with the parameters already
/// rounded as they are stored; the outcome of SearchKind::None is one of the
/// candidates, so a search never does worse (unless scales are nested: then the
/// second level differs).
///
/// The scale is 0 only where all codes of the group stand for one value: a
/// group of zeros, or with ZeroKind::Minimum one of equal values. Otherwise its
/// magnitude is at least the smallest positive value of its type, or the
/// smallest normal value of BF16 and F32. Scales that cannot be 0 are as small
/// as they can be.
///
/// With `hessian` [k, k], the second moments H of the inputs, what is minimised
/// is e H_g e^T for the errors e of a group and its block H_g: the squared
/// error of its part of the output. `importance` is to be the diagonal then: it
/// weighs the least squares. Groups of more than 512 columns, and those that
/// cross rows (Tensor, Flat), go by `importance` alone.
///
/// `w` must be finite, `importance` finite and not negative, and the scheme
/// valid. The result depends neither on the number of threads nor on the
/// vector width of the processor.
GroupParameters fitParameters(std::span<const float> w, int64_t n, int64_t k,
                              const Scheme &scheme,
                              const SearchOptions &options,
                              std::span<const float> importance = {},
                              std::span<const float> hessian = {});

/// The codes of `values`, neighbours of one group, nearest to them under the
/// given parameters, clamped to 0..maxCode. With scale 0: the zero point.
void chooseCodes(const Scheme &scheme, float scale, float offset,
                 std::span<const float> values, uint8_t *codes);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_SEARCH_H
