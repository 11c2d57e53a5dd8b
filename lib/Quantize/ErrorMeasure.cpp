//===- ErrorMeasure.cpp - Error of a quantized linear ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Quadratic forms by blocks of rows and panels of columns.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/ErrorMeasure.h"

#include "Blas.h"
#include "Lanes.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

static constexpr int64_t kRowBlock = 128;
static constexpr int64_t kPanel = 256;

/// sum a_i b_i, products in f32, the sum in f64.
QUANTOPT_CLONES static double dot(const float *a, const float *b,
                                  int64_t count) {
  using DoubleLanes = double __attribute__((ext_vector_type(16)));
  DoubleLanes sum = 0.0;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    FloatLanes x, y;
    load(x, a + i);
    load(y, b + i);
    sum += __builtin_convertvector(x * y, DoubleLanes);
  }
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    total += sum[lane];
  for (; i < count; ++i)
    total += static_cast<double>(a[i]) * b[i];
  return total;
}

/// Adds to `forms` the part of d H d^T that panel [begin, end) of the columns
/// of H's upper triangle contributes. What lies above the diagonal tile stands
/// for two entries of H.
static void addPanel(const float *d, int64_t rows, int64_t k, const float *h,
                     int64_t begin, int64_t end, float *product,
                     double *forms) {
  int64_t width = end - begin;
  multiply(rows, width, width, 1.0f, {d + begin, k}, {h + begin * k + begin, k},
           0.0f, product, width);
  multiply(rows, width, begin, 2.0f, {d, k}, {h + begin, k}, 1.0f, product,
           width);
  for (int64_t row = 0; row < rows; ++row)
    forms[row] += dot(product + row * width, d + row * k + begin, width);
}

/// The forms of n rows d; `rowsAt(first, rows, buffer)` gives `rows` of them
/// from the first on, in `buffer` if it has to compute them.
template <typename RowsAt>
static std::vector<double>
blockwiseForms(int64_t n, int64_t k, std::span<const float> h, RowsAt rowsAt) {
  useSingleThreadedBlas();
  std::vector<double> forms(n, 0.0);
  int64_t blocks = (n + kRowBlock - 1) / kRowBlock;
#pragma omp parallel
  {
    std::vector<float> product(kRowBlock * kPanel), buffer;
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t first = block * kRowBlock, rows = std::min(kRowBlock, n - first);
      const float *d = rowsAt(first, rows, buffer);
      for (int64_t begin = 0; begin < k; begin += kPanel)
        addPanel(d, rows, k, h.data(), begin, std::min(begin + kPanel, k),
                 product.data(), forms.data() + first);
    }
  }
  for (double &form : forms)
    form = std::max(form, 0.0);
  return forms;
}

std::vector<double> quantopt::quadraticForms(std::span<const float> d,
                                             int64_t n, int64_t k,
                                             std::span<const float> h) {
  return blockwiseForms(n, k, h,
                        [&](int64_t first, int64_t, std::vector<float> &) {
                          return d.data() + first * k;
                        });
}

double quantopt::objective(std::span<const float> d, int64_t n, int64_t k,
                           std::span<const float> h) {
  double sum = 0;
  for (double form : quadraticForms(d, n, k, h))
    sum += form;
  return sum;
}

/// Rows [first, first + rows) of dequantized(matrix) - w, in `buffer`.
static const float *differenceRows(const QuantizedMatrix &matrix,
                                   std::span<const float> w, int64_t first,
                                   int64_t rows, std::vector<float> &buffer) {
  int64_t count = rows * matrix.k;
  buffer.resize(count);
  dequantizeRows(matrix, first, first + rows, buffer);
  for (int64_t i = 0; i < count; ++i)
    buffer[i] -= w[first * matrix.k + i];
  return buffer.data();
}

std::vector<double> quantopt::rowErrors(const QuantizedMatrix &matrix,
                                        std::span<const float> w,
                                        std::span<const float> h) {
  return blockwiseForms(
      matrix.n, matrix.k, h,
      [&](int64_t first, int64_t rows, std::vector<float> &buffer) {
        return differenceRows(matrix, w, first, rows, buffer);
      });
}

double quantopt::weightedError(const QuantizedMatrix &matrix,
                               std::span<const float> w,
                               std::span<const float> importance) {
  std::vector<float> d;
  double sum = 0;
  for (int64_t row = 0; row < matrix.n; ++row) {
    differenceRows(matrix, w, row, 1, d);
    for (int64_t column = 0; column < matrix.k; ++column) {
      double value = d[column];
      sum += value * value * (importance.empty() ? 1.0 : importance[column]);
    }
  }
  return sum;
}
