//===- ScaleGrid.h - The values that scales can take ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Scales are rounded to how they are stored before codes are chosen. With
// nested scales that depends on the whole plane: its second level is laid out
// once, and every scale is rounded on it from then on.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_SCALEGRID_H
#define QUANTOPT_LIB_QUANTIZE_SCALEGRID_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// A scale that can be stored, and its byte if scales are nested.
struct StoredScale {
  float value = 0;
  uint8_t byte = 0;
};

class ScaleGrid {
public:
  /// For scales that nothing but `kind` bounds.
  explicit ScaleGrid(ScaleKind kind) : kind(kind) {}
  /// For the scales of a matrix that has them already.
  ScaleGrid(const Scheme &scheme, const NestedScales &nested);
  /// A second level that suits `scales`, the plane before rounding.
  ScaleGrid(const Scheme &scheme, std::span<const float> scales);

  /// Scale `index` of the plane as it is stored. What is not 0 stays so and
  /// keeps its sign, and is large enough that its inverse is finite; the upper
  /// bound leaves room for code * scale. A type without 0 stores its smallest
  /// value instead.
  StoredScale round(int64_t index, double scale) const;

  /// The second level, its bytes still 0: one for each of `count` scales.
  NestedScales level(int64_t count) const;

private:
  StoredScale roundDynamic(int64_t index, float scale) const;

  ScaleKind kind;
  Nesting nesting = Nesting::None;
  std::vector<float> scales; ///< as NestedScales has them
  float offset = 0;
};

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_SCALEGRID_H
