//===- Blas.cpp - The BLAS and LAPACK functions that are used -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// See Blas.h.
//
//===----------------------------------------------------------------------===//

#include "Blas.h"

#include <cblas.h>

using namespace quantopt;

// LAPACK's Fortran entry points, which OpenBLAS contains. The trailing lengths
// of the character arguments are part of the Fortran calling convention.
extern "C" {
void dpotrf_(const char *uplo, const blasint *n, double *a, const blasint *lda,
             blasint *info, size_t);
void dpotrs_(const char *uplo, const blasint *n, const blasint *nrhs,
             const double *a, const blasint *lda, double *b, const blasint *ldb,
             blasint *info, size_t);
void dtrtri_(const char *uplo, const char *diag, const blasint *n, double *a,
             const blasint *lda, blasint *info, size_t, size_t);
}

void quantopt::useSingleThreadedBlas() {
  static const bool done = (openblas_set_num_threads(1), true);
  (void)done;
}

void quantopt::multiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha,
                                  MatrixView a, MatrixView b, float beta,
                                  float *c, int64_t strideC) {
  if (m == 0 || n == 0 || k == 0)
    return;
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, alpha, a.data,
              a.stride, b.data, b.stride, beta, c, strideC);
}

void quantopt::multiply(int64_t m, int64_t n, int64_t k, float alpha,
                        MatrixView a, MatrixView b, float beta, float *c,
                        int64_t strideC) {
  if (m == 0 || n == 0 || k == 0)
    return;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, alpha, a.data,
              a.stride, b.data, b.stride, beta, c, strideC);
}

void quantopt::addSquare(int64_t n, int64_t rows, MatrixView a, float *c,
                         int64_t strideC) {
  if (n == 0 || rows == 0)
    return;
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, n, rows, 1.0f, a.data,
              a.stride, 1.0f, c, strideC);
}

// Row-major lower is column-major upper: A = V^T V with V = L^T.

bool quantopt::choleskyLower(double *a, int64_t k, int64_t stride) {
  blasint size = static_cast<blasint>(k), info = 0;
  blasint leading = static_cast<blasint>(stride);
  if (k > 0)
    dpotrf_("U", &size, a, &leading, &info, 1);
  return info == 0;
}

void quantopt::solveCholesky(const double *lower, int64_t k, double *rows,
                             int64_t count) {
  blasint size = static_cast<blasint>(k), info = 0;
  blasint rights = static_cast<blasint>(count);
  if (k > 0 && count > 0)
    dpotrs_("U", &size, &rights, lower, &size, rows, &size, &info, 1);
}

bool quantopt::invertLower(double *a, int64_t k, int64_t stride) {
  blasint size = static_cast<blasint>(k), info = 0;
  blasint leading = static_cast<blasint>(stride);
  if (k > 0)
    dtrtri_("U", "N", &size, a, &leading, &info, 1, 1);
  return info == 0;
}

void quantopt::solveRight(int64_t m, int64_t n, const double *lower, double *x,
                          int64_t stride) {
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
              m, n, 1.0, lower, stride, x, stride);
}

void quantopt::solveLeft(int64_t m, int64_t n, const double *lower, double *x,
                         int64_t stride) {
  cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit,
              m, n, 1.0, lower, stride, x, stride);
}

void quantopt::subtractProduct(int64_t m, int64_t n, int64_t k, const double *a,
                               const double *b, double *c, int64_t stride) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, -1.0, a,
              stride, b, stride, 1.0, c, stride);
}

void quantopt::subtractProductTransposed(int64_t m, int64_t n, int64_t k,
                                         const double *a, const double *b,
                                         double *c, int64_t stride) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, -1.0, a, stride,
              b, stride, 1.0, c, stride);
}

void quantopt::subtractSquare(int64_t n, int64_t k, const double *a, double *c,
                              int64_t stride) {
  cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, n, k, -1.0, a, stride,
              1.0, c, stride);
}
