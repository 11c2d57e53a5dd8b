//===- RoundToNearest.h - Quantization without data -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Round-to-nearest: fit the parameters of each group, then take the nearest
// code of every weight on its own.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_ROUNDTONEAREST_H
#define QUANTOPT_QUANTIZE_ROUNDTONEAREST_H

#include "quantopt/Quantize/Search.h"

namespace quantopt {

/// Quantizes `w` [n, k], row-major. `importance` and `hessian` as in
/// fitParameters, for instance the mean square of each input (an "importance
/// matrix").
///
/// Where k is no multiple of the group size, the last group of a row is short.
/// SearchKind::None with NF4 or FP4, f32 scales and groups that are whole or
/// Flat gives the codes and the (nested) scales of bitsandbytes, bit for bit.
///
/// Returns an empty matrix (n = k = 0) if the scheme is not valid, a size does
/// not match, a weight is not finite, or an importance is negative or not
/// finite; `roundToNearestError` says which.
QuantizedMatrix quantizeRoundToNearest(std::span<const float> w, int64_t n,
                                       int64_t k, const Scheme &scheme,
                                       const SearchOptions &options,
                                       std::span<const float> importance = {},
                                       std::span<const float> hessian = {});

/// Why quantizeRoundToNearest would refuse these arguments; empty if it would
/// not.
std::string roundToNearestError(std::span<const float> w, int64_t n, int64_t k,
                                const Scheme &scheme,
                                std::span<const float> importance = {});

/// The nearest codes of `w` [n, k] under parameters that are given.
QuantizedMatrix quantizeWithParameters(std::span<const float> w, int64_t n,
                                       int64_t k, const Scheme &scheme,
                                       GroupParameters parameters);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_ROUNDTONEAREST_H
