//===- GptqFactor.cpp - H in the form that GPTQ needs ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Dead columns, order, damping and the factor U with (H + damp)^-1 = U^T U.
//
//===----------------------------------------------------------------------===//

#include "LowerTriangle.h"
#include "quantopt/Quantize/Gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace quantopt;

/// H is divided by its mean diagonal before it is factorised. A pivot below
/// this is rounding of the f32 sums rather than information: dividing by it
/// would blow noise up, even where Cholesky still succeeds.
static constexpr double kSmallestPivot = 1e-6;

/// First step of the damping ladder, and its end.
static constexpr double kDampStep = 0.01;
static constexpr double kDampLimit = 1.0;

/// Why `hessian` cannot be used; empty if it can.
static std::string findDefect(const std::vector<float> &hessian, int64_t k) {
  if (k < 1)
    return "the hessian has no columns";
  if (static_cast<int64_t>(hessian.size()) != k * k)
    return "the hessian must hold " + std::to_string(k * k) +
           " values, but holds " + std::to_string(hessian.size());
  std::string place = findNonFinite(hessian, k, k);
  if (!place.empty())
    return "the hessian is not finite at " + place +
           ": an input of this layer overflowed or is nan";
  for (int64_t i = 0; i < k; ++i)
    if (hessian[i * k + i] < 0)
      return "the hessian has a negative diagonal at column " +
             std::to_string(i);
  return {};
}

/// The columns in the order in which they are taken; ties as they stand.
static std::vector<int64_t> orderColumns(const std::vector<float> &diagonal,
                                         const GptqFactorOptions &options) {
  std::vector<int64_t> order(diagonal.size());
  std::iota(order.begin(), order.end(), 0);
  auto larger = [&](int64_t a, int64_t b) {
    return diagonal[a] != diagonal[b] ? diagonal[a] > diagonal[b] : a < b;
  };
  if (options.order == ActOrder::None)
    return order;
  if (options.order == ActOrder::Static || options.groupLength < 1) {
    std::sort(order.begin(), order.end(), larger);
    return order;
  }
  int64_t length = options.groupLength;
  std::vector<float> most((diagonal.size() + length - 1) / length, 0.0f);
  for (size_t i = 0; i < diagonal.size(); ++i)
    most[i / length] = std::max(most[i / length], diagonal[i]);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    int64_t groupA = a / length, groupB = b / length;
    if (groupA == groupB)
      return larger(a, b);
    if (most[groupA] != most[groupB])
      return most[groupA] > most[groupB];
    return groupA < groupB;
  });
  return order;
}

/// J P (H / scale + damp) P^T J, for the order P and the reversal J, into `a`.
/// Dead columns become columns of the identity.
static void gatherReversed(LowerTriangle &a, const std::vector<float> &hessian,
                           const std::vector<int64_t> &order,
                           const std::vector<float> &diagonal, double scale,
                           double damp) {
  int64_t k = a.size(), length = a.blockLength();
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t i = 0; i < k; ++i) {
    int64_t row = order[k - 1 - i];
    const float *source = hessian.data() + row * k;
    for (int64_t begin = 0; begin <= i; begin += length) {
      double *target = a.at(i, begin);
      int64_t end = std::min(begin + length, i + 1);
      for (int64_t j = begin; j < end; ++j) {
        int64_t column = order[k - 1 - j];
        bool dead = diagonal[row] == 0 || diagonal[column] == 0;
        target[j - begin] = dead ? 0.0 : source[column] / scale;
      }
    }
    double *pivot = a.at(i, i);
    *pivot = (diagonal[row] == 0 ? 1.0 : *pivot) + damp;
  }
}

/// Whether all pivots of the Cholesky factor `a` carry information.
static bool pivotsAreSafe(const LowerTriangle &a) {
  for (int64_t i = 0; i < a.size(); ++i) {
    double pivot = *a.at(i, i) * *a.at(i, i);
    if (!(pivot >= kSmallestPivot) || !std::isfinite(pivot))
      return false;
  }
  return true;
}

/// U = J L^-1 J.
static std::vector<float> reverseToUpper(const LowerTriangle &inverse) {
  int64_t k = inverse.size(), length = inverse.blockLength();
  std::vector<float> upper(k * k, 0.0f);
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t i = 0; i < k; ++i) {
    float *lastOfRow = upper.data() + (k - 1 - i) * k + k - 1;
    for (int64_t begin = 0; begin <= i; begin += length) {
      const double *source = inverse.at(i, begin);
      int64_t end = std::min(begin + length, i + 1);
      for (int64_t j = begin; j < end; ++j)
        lastOfRow[-j] = static_cast<float>(source[j - begin]);
    }
  }
  return upper;
}

/// p^(1/4) d^(3/4) of GptqFactor::importance, in units of `scale`.
static std::vector<float> importanceOf(const std::vector<float> &diagonal,
                                       const std::vector<float> &upper,
                                       const std::vector<int64_t> &order,
                                       double scale) {
  int64_t k = order.size();
  std::vector<float> result(k);
  for (int64_t i = 0; i < k; ++i) {
    double root = 1.0 / upper[i * k + i]; // of p
    double d = diagonal[order[i]] / scale;
    result[order[i]] = static_cast<float>(std::sqrt(root) * std::sqrt(d) *
                                          std::sqrt(std::sqrt(d)));
  }
  return result;
}

double quantopt::dampForTokens(int64_t k, int64_t tokens) {
  double ratio = tokens > 0 ? static_cast<double>(k) / tokens : 2.0;
  return std::min(0.5 * ratio, kDampLimit);
}

GptqFactor GptqFactor::make(std::vector<float> hessian, int64_t k,
                            const GptqFactorOptions &options) {
  auto made = std::make_shared<Data>();
  GptqFactor factor;
  factor.data = made;
  made->k = k;
  made->error = findDefect(hessian, k);
  if (made->error.empty() &&
      !(std::isfinite(options.damp) && options.damp >= 0))
    made->error = "damp must be a finite number of at least 0";
  if (!made->error.empty())
    return factor;

  made->hessian = std::move(hessian);
  made->diagonal.resize(k);
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) {
    made->diagonal[i] = made->hessian[i * k + i];
    made->deadColumns += made->diagonal[i] == 0;
    sum += made->diagonal[i];
  }
  int64_t live = k - made->deadColumns;
  made->scale = live > 0 ? sum / static_cast<double>(live) : 1.0;
  made->order = orderColumns(made->diagonal, options);

  LowerTriangle work(k);
  double damp = options.damp, step = kDampStep;
  for (;;) {
    gatherReversed(work, made->hessian, made->order, made->diagonal,
                   made->scale, damp);
    made->damp = damp;
    ++made->attempts;
    if (work.factorise() && pivotsAreSafe(work) && work.invert()) {
      made->upper = reverseToUpper(work);
      made->importance =
          importanceOf(made->diagonal, made->upper, made->order, made->scale);
      return factor;
    }
    if (damp >= kDampLimit)
      break;
    damp = std::min(damp + step, kDampLimit);
    step *= 2;
  }
  made->importance = made->diagonal;
  made->fallback = "the hessian is not positive definite even with damp " +
                   std::to_string(damp) + "; rounded to nearest instead";
  return factor;
}

std::vector<float> GptqFactor::dampedHessian(bool ordered) const {
  int64_t k = data->k;
  const std::vector<float> &diagonal = data->diagonal;
  std::vector<float> result(k * k);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < k; ++i) {
    int64_t row = ordered ? data->order[i] : i;
    for (int64_t j = 0; j < k; ++j) {
      int64_t column = ordered ? data->order[j] : j;
      bool dead = diagonal[row] == 0 || diagonal[column] == 0;
      double value = dead ? 0.0 : data->hessian[row * k + column] / data->scale;
      if (i == j)
        value = (dead ? 1.0 : value) + data->damp;
      result[i * k + j] = static_cast<float>(value);
    }
  }
  return result;
}
