//===- ExpandedScales.cpp - A scale for every group of a row --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Packing/ExpandedScales.h"

using namespace quantopt;

static ScaleKind expandedKind(const Scheme &scheme) {
  if (scheme.nesting != Nesting::None)
    return ScaleKind::F32;
  switch (scheme.scaleType) {
  case ScaleKind::E8M0:
    return ScaleKind::BF16;
  case ScaleKind::E4M3:
    return ScaleKind::F16;
  default:
    return scheme.scaleType;
  }
}

std::optional<Scheme> quantopt::expandedScheme(const Scheme &scheme, int64_t n,
                                               int64_t k) {
  Scheme result = scheme.forRows(k);
  result.scaleType = expandedKind(scheme);
  result.nesting = Nesting::None;
  if (result.granularity == Granularity::Tensor)
    result.granularity = Granularity::Channel;
  if (result.granularity != Granularity::Flat)
    return result;
  // What is left of Flat has groups that do not divide a row.
  if (n <= 1) {
    result.granularity = Granularity::Group;
    return result;
  }
  if (scheme.groupSize % k != 0)
    return std::nullopt;
  result.granularity = Granularity::Channel;
  result.groupSize = 0;
  return result;
}

QuantizedMatrix quantopt::expandScales(QuantizedMatrix matrix) {
  const Scheme from = matrix.scheme;
  const Scheme to = *expandedScheme(from, matrix.n, matrix.k);
  auto expand = [&](std::vector<float> &values) {
    std::vector<float> expanded;
    expanded.reserve(to.numScales(matrix.n, matrix.k));
    for (int64_t row = 0; row < matrix.n; ++row)
      for (int64_t begin = 0; begin < matrix.k;
           begin = to.groupEnd(row, begin, matrix.k))
        expanded.push_back(values[from.scaleIndex(row, begin, matrix.k)]);
    values = std::move(expanded);
  };
  expand(matrix.scales);
  if (to.zero != ZeroKind::Symmetric)
    expand(matrix.offsets);
  matrix.nested = {};
  matrix.scheme = to;
  return matrix;
}
