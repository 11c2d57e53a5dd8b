//===- LowerTriangle.cpp - Half a matrix, factorised in place -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Block by block; inside a block through LAPACK.
//
//===----------------------------------------------------------------------===//

#include "LowerTriangle.h"

#include "Blas.h"

#include <algorithm>

using namespace quantopt;

/// As few blocks of at most 256 as cover k, of equal length.
static int64_t equalLength(int64_t k) {
  int64_t blocks = std::max<int64_t>(1, (k + 255) / 256);
  return std::max<int64_t>(1, (k + blocks - 1) / blocks);
}

LowerTriangle::LowerTriangle(int64_t k)
    : k(k), length(equalLength(k)), blocks((k + length - 1) / length),
      values(blocks * (blocks + 1) / 2 * length * length) {}

bool LowerTriangle::factorise() {
  useSingleThreadedBlas();
  for (int64_t p = 0; p < blocks; ++p) {
    int64_t width = rowsOf(p);
    if (!choleskyLower(block(p, p), width, length))
      return false;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = p + 1; i < blocks; ++i)
      solveRight(rowsOf(i), width, block(p, p), block(i, p), length);
    // What is left: A_ij - L_ip L_jp^T.
#pragma omp parallel for schedule(dynamic, 1) collapse(2)
    for (int64_t i = p + 1; i < blocks; ++i)
      for (int64_t j = p + 1; j < blocks; ++j) {
        if (j < i)
          subtractProductTransposed(rowsOf(i), rowsOf(j), width, block(i, p),
                                    block(j, p), block(i, j), length);
        if (j == i)
          subtractSquare(rowsOf(i), width, block(i, p), block(i, i), length);
      }
  }
  return true;
}

bool LowerTriangle::invert() {
  useSingleThreadedBlas();
  std::vector<double> row;
  for (int64_t i = 0; i < blocks; ++i) {
    // Of row i of X = L^-1, sum_p L_ip X_pj = 0 for every j < i.
    row.assign(block(i, 0), block(i, 0) + (i + 1) * length * length);
    if (!invertLower(block(i, i), rowsOf(i), length))
      return false;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t j = 0; j < i; ++j) {
      std::fill_n(block(i, j), length * length, 0.0);
      for (int64_t p = j; p < i; ++p)
        subtractProduct(rowsOf(i), length, length,
                        row.data() + p * length * length, block(p, j),
                        block(i, j), length);
      solveLeft(rowsOf(i), length, row.data() + i * length * length,
                block(i, j), length);
    }
  }
  return true;
}
