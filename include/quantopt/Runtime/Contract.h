//===- Contract.h - Any contraction of two strided arrays -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_CONTRACT_H
#define QUANTOPT_RUNTIME_CONTRACT_H

#include "quantopt/Runtime/Matrix.h"

#include <vector>

namespace quantopt {

/// One loop of a contraction: its length and how far each array moves, in
/// elements, when it takes a step. A stride of 0 says that the array does not
/// depend on the loop.
struct ContractionLoop {
  int64_t size, a, b, c;
};

/// The loops of a contraction by role. Rows and columns are one loop each, of
/// size 1 if there is none; what could not be merged into them is a batch loop.
struct ContractionPlan {
  std::vector<ContractionLoop> batch, sums; ///< outermost first
  ContractionLoop row{1, 0, 0, 0}, column{1, 0, 0, 0};
  int64_t batches = 1, k = 1; ///< products of the sizes
};

/// Sorts loops by role and merges those that together step like one.
ContractionPlan planContraction(std::span<const ContractionLoop> loops);

/// c[i] (+)= sum over the loops with no stride in c of a[i] * b[i]. Every loop
/// is a batch loop (in a, b and c), a row (a and c), a column (b and c) or a
/// sum (a and b, or one of them). Transposes are decided from the strides;
/// operands are copied only where they have no unit stride or are not f32.
/// Sums are f32 and c is rounded once. Work is cut by shape alone, so the bits
/// do not depend on the number of threads. c must not overlap a or b.
void contract(FloatKind aKind, const void *a, FloatKind bKind, const void *b,
              FloatKind cKind, void *c, std::span<const ContractionLoop> loops,
              bool accumulate);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_CONTRACT_H
