//===- LowerTriangle.h - Half a matrix, factorised in place -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The fp64 work matrix of GptqFactor, of which a full one would be the largest
// thing that is in memory while a wide layer is quantized.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_LOWERTRIANGLE_H
#define QUANTOPT_LIB_QUANTIZE_LOWERTRIANGLE_H

#include <cstdint>
#include <vector>

namespace quantopt {

/// The lower triangle of a [k, k] matrix of doubles, in square blocks of
/// blockLength() of which those above the diagonal do not exist. Blocks are
/// shared out to OpenMP threads and each is computed in one order: the result
/// is the same for any number of threads.
class LowerTriangle {
public:
  /// All zero.
  explicit LowerTriangle(int64_t k);

  int64_t size() const { return k; }
  int64_t blockLength() const { return length; }

  /// Element (row, column), column <= row. What follows it in its row follows
  /// it in memory up to a multiple of blockLength().
  double *at(int64_t row, int64_t column) {
    return block(row / length, column / length) + row % length * length +
           column % length;
  }
  const double *at(int64_t row, int64_t column) const {
    return const_cast<LowerTriangle *>(this)->at(row, column);
  }

  /// A becomes L where the symmetric A = L L^T (Cholesky). False if A is not
  /// positive definite; the values are of no use then.
  bool factorise();

  /// L becomes its inverse. False if it is singular.
  bool invert();

private:
  double *block(int64_t i, int64_t j) {
    return values.data() + (i * (i + 1) / 2 + j) * length * length;
  }
  /// Rows that block row i has of the matrix.
  int64_t rowsOf(int64_t i) const {
    return i + 1 < blocks ? length : k - i * length;
  }

  int64_t k, length, blocks;
  /// Block rows one after another; the rest of a diagonal block is zero.
  std::vector<double> values;
};

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_LOWERTRIANGLE_H
