//===- RowsByExpert.h - The rows that each expert multiplies ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_ROWSBYEXPERT_H
#define QUANTOPT_RUNTIME_ROWSBYEXPERT_H

#include "quantopt/Runtime/Matrix.h"

#include <span>
#include <vector>

namespace quantopt {

/// Rows sorted by the expert that each goes to.
class RowsByExpert {
public:
  /// `expertOf[i]` is the expert of row i: any number. Kept by reference.
  explicit RowsByExpert(std::span<const int64_t> expertOf);

  /// The rows of `expert`, ascending.
  std::span<const int64_t> rows(int64_t expert) const;

private:
  std::span<const int64_t> expertOf;
  std::vector<int64_t> order;
};

/// Copies `rows` of `from`, without gaps, to `to`.
void gatherRows(MatrixRef from, std::span<const int64_t> rows, void *to);

/// Copies the rows at `from`, without gaps, to `rows` of `to`.
void scatterRows(const void *from, std::span<const int64_t> rows,
                 MutableMatrixRef to);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_ROWSBYEXPERT_H
