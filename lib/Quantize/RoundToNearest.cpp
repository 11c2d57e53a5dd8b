//===- RoundToNearest.cpp - Quantization without data ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Round-to-nearest.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/RoundToNearest.h"

#include "Blockwise.h"

#include <algorithm>
#include <cmath>

using namespace quantopt;

std::string quantopt::roundToNearestError(std::span<const float> w, int64_t n,
                                          int64_t k, const Scheme &scheme,
                                          std::span<const float> importance) {
  std::string error = scheme.verify();
  if (!error.empty())
    return error;
  if (n < 0 || k < 0)
    return "a dimension of the weight is negative";
  if (static_cast<int64_t>(w.size()) != n * k)
    return "the weight must hold " + std::to_string(n * k) +
           " values, but holds " + std::to_string(w.size());
  std::string place = findNonFinite(w, n, k);
  if (!place.empty())
    return "weight is not finite at " + place;
  if (importance.empty())
    return {};
  if (static_cast<int64_t>(importance.size()) != k)
    return "there must be one importance per column: " + std::to_string(k) +
           ", but there are " + std::to_string(importance.size());
  for (int64_t column = 0; column < k; ++column)
    if (!std::isfinite(importance[column]) || importance[column] < 0)
      return "importance is negative or not finite at column " +
             std::to_string(column);
  return {};
}

QuantizedMatrix quantopt::quantizeWithParameters(std::span<const float> w,
                                                 int64_t n, int64_t k,
                                                 const Scheme &scheme,
                                                 GroupParameters parameters) {
  QuantizedMatrix result;
  result.scheme = scheme;
  result.n = n;
  result.k = k;
  result.scales = std::move(parameters.scales);
  result.offsets = std::move(parameters.offsets);
  result.nested = std::move(parameters.nested);
  result.codes.resize(n * k);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t begin = 0, end; begin < k; begin = end) {
      end = scheme.groupEnd(row, begin, k);
      int64_t index = scheme.scaleIndex(row, begin, k);
      float offset = result.offsets.empty() ? 0.0f : result.offsets[index];
      chooseCodes(scheme, result.scales[index], offset,
                  w.subspan(row * k + begin, end - begin),
                  result.codes.data() + row * k + begin);
    }
  }
  return result;
}

QuantizedMatrix quantopt::quantizeRoundToNearest(
    std::span<const float> w, int64_t n, int64_t k, const Scheme &scheme,
    const SearchOptions &options, std::span<const float> importance,
    std::span<const float> hessian) {
  if (!roundToNearestError(w, n, k, scheme, importance).empty()) {
    QuantizedMatrix empty;
    empty.scheme = scheme;
    return empty;
  }
  if (options.kind == SearchKind::None && isBlockwise(scheme, k))
    return quantizeBlockwise(w, n, k, scheme);
  return quantizeWithParameters(
      w, n, k, scheme,
      fitParameters(w, n, k, scheme, options, importance, hessian));
}
