//===- Multiply.cpp - y = x * W^T in fixed panels -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Multiply.h"

#include "Blas.h"

#include <algorithm>
#include <omp.h>

using namespace quantopt;

int64_t quantopt::panelRows(int64_t n) {
  // 192 rows of a usual K are a second-level cache's worth, and within 2 % of
  // the rate of one call for all. An even number of panels shares well.
  int64_t panels = (n + 191) / 192;
  panels += panels % 2;
  if (panels == 0)
    return 16;
  int64_t rows = (n + panels - 1) / panels;
  return (rows + 15) / 16 * 16;
}

/// y[:, begin:end] = x * panel^T for a panel of floats.
static void multiplyPanel(const float *x, int64_t m, int64_t k,
                          const float *panel, int64_t begin, int64_t end,
                          MutableMatrixRef y) {
  int64_t n = y.cols, rows = end - begin;
  if (y.kind == FloatKind::F32) {
    float *out = static_cast<float *>(y.data) + begin;
    if (m == 1)
      cblas_sgemv(CblasRowMajor, CblasNoTrans, rows, k, 1, panel, k, x, 1, 0,
                  out, 1);
    else
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, rows, k, 1, x, k,
                  panel, k, 0, out, n);
    return;
  }
  Scratch wide(m * rows);
  multiplyPanel(x, m, k, panel, 0, rows,
                {wide.data(), m, rows, FloatKind::F32});
  for (int64_t i = 0; i < m; ++i)
    narrow(y.kind, wide.data() + i * rows, rows,
           static_cast<char *>(y.data) + (i * n + begin) * byteWidth(y.kind));
}

/// Runs over the panels; `panelAt(begin, end, scratch)` gives the floats of
/// one, in `scratch` if it has to compute them.
template <typename PanelAt>
static void multiply(MatrixRef x, MutableMatrixRef y, bool needsScratch,
                     PanelAt panelAt) {
  int64_t m = y.rows, n = y.cols, k = x.cols;
  if (m == 0 || n == 0)
    return;
  if (k == 0) {
    std::fill_n(static_cast<char *>(y.data), m * n * byteWidth(y.kind), 0);
    return;
  }
  useSingleThreadedBlas();
  Scratch wideX(x.kind == FloatKind::F32 ? 0 : m * k);
  const float *xs = static_cast<const float *>(x.data);
  if (x.kind != FloatKind::F32) {
    widen(x.kind, x.data, m * k, wideX.data());
    xs = wideX.data();
  }
  int64_t step = panelRows(n), panels = (n + step - 1) / step;
  bool worthThreads = panels > 1 && m * n * k > (1 << 18);
#pragma omp parallel if (worthThreads)
  {
    Scratch scratch(needsScratch ? step * k : 0);
#pragma omp for schedule(dynamic, 1)
    for (int64_t panel = 0; panel < panels; ++panel) {
      int64_t begin = panel * step, end = std::min(n, begin + step);
      multiplyPanel(xs, m, k, panelAt(begin, end, scratch.data()), begin, end,
                    y);
    }
  }
}

void quantopt::multiplyTransposed(MatrixRef x, MatrixRef weight,
                                  MutableMatrixRef y) {
  int64_t k = x.cols;
  if (weight.kind == FloatKind::F32) {
    const float *data = static_cast<const float *>(weight.data);
    multiply(x, y, false,
             [&](int64_t begin, int64_t, float *) { return data + begin * k; });
    return;
  }
  const char *data = static_cast<const char *>(weight.data);
  multiply(x, y, true, [&](int64_t begin, int64_t end, float *scratch) {
    widen(weight.kind, data + begin * k * byteWidth(weight.kind),
          (end - begin) * k, scratch);
    return static_cast<const float *>(scratch);
  });
}

void quantopt::multiplyTransposed(MatrixRef x, const WeightRows &weight,
                                  MutableMatrixRef y) {
  multiply(x, y, true, [&](int64_t begin, int64_t end, float *scratch) {
    weight(begin, end, scratch);
    return static_cast<const float *>(scratch);
  });
}
