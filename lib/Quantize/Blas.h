//===- Blas.h - The BLAS and LAPACK functions that are used -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Float matrix products and fp64 factorisations, from OpenBLAS. All threads are
// ours (OpenMP over fixed partitions): the library is held to one thread a
// call.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_BLAS_H
#define QUANTOPT_LIB_QUANTIZE_BLAS_H

#include <cstdint>

namespace quantopt {

/// Holds OpenBLAS to the calling thread. Called by every function that goes on
/// to call BLAS; does its work once.
void useSingleThreadedBlas();

/// A row-major matrix inside a larger one: element (i, j) is data[i*stride +
/// j].
struct MatrixView {
  const float *data;
  int64_t stride;
};

/// c [m, n] = alpha * a^T b + beta * c, for a [k, m] and b [k, n].
void multiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha,
                        MatrixView a, MatrixView b, float beta, float *c,
                        int64_t strideC);

/// c [m, n] = alpha * a b + beta * c, for a [m, k] and b [k, n].
void multiply(int64_t m, int64_t n, int64_t k, float alpha, MatrixView a,
              MatrixView b, float beta, float *c, int64_t strideC);

/// Adds a^T a to the upper triangle of c [n, n], for a [rows, n].
void addSquare(int64_t n, int64_t rows, MatrixView a, float *c,
               int64_t strideC);

/// Overwrites the lower triangle of `a` [k, k], row-major, rows `stride` apart,
/// with L where a = L L^T. False if `a` is not positive definite.
bool choleskyLower(double *a, int64_t k, int64_t stride);

/// Overwrites each row x of `rows` [count, k] with the solution y of y a = x,
/// for the factor L of a = L L^T that choleskyLower left in `lower` [k, k].
void solveCholesky(const double *lower, int64_t k, double *rows, int64_t count);

/// Overwrites the lower triangle of `a` [k, k] with its inverse. False if it is
/// singular.
bool invertLower(double *a, int64_t k, int64_t stride);

// On blocks, row-major matrices whose rows are all `stride` apart:

/// x [m, n] becomes x L^-T, for `lower` L [n, n].
void solveRight(int64_t m, int64_t n, const double *lower, double *x,
                int64_t stride);

/// x [m, n] becomes L^-1 x, for `lower` L [m, m].
void solveLeft(int64_t m, int64_t n, const double *lower, double *x,
               int64_t stride);

/// c [m, n] -= a b, for a [m, k] and b [k, n].
void subtractProduct(int64_t m, int64_t n, int64_t k, const double *a,
                     const double *b, double *c, int64_t stride);

/// c [m, n] -= a b^T, for a [m, k] and b [n, k].
void subtractProductTransposed(int64_t m, int64_t n, int64_t k, const double *a,
                               const double *b, double *c, int64_t stride);

/// The lower triangle of c [n, n] -= a a^T, for a [n, k].
void subtractSquare(int64_t n, int64_t k, const double *a, double *c,
                    int64_t stride);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_BLAS_H
