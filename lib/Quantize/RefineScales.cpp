//===- RefineScales.cpp - The best scales for given codes -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A row is w = C^T s + E^T b, with C and E the codes (counted from the zero
// point, or from the middle code; of a table its values) and the ones of each
// group, zero outside it.
// With H the damped Hessian the best (s, b) solve
//
//   (B H B^T + r) x = B H w + r x_old,   B = (C; E),
//
// where Integer and Symmetric have no E.
//
//===----------------------------------------------------------------------===//

#include "Blas.h"
#include "CodeTables.h"
#include "ScaleGrid.h"
#include "quantopt/Quantize/Refine.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

static constexpr int64_t kMostGroups = 512;
static constexpr int64_t kRowBlock = 128;

/// How strongly parameters are held to the old ones: in units of their own
/// diagonal, and of the largest one (for a group whose codes are all 0).
static constexpr double kHold = 1e-6, kHoldAll = 1e-12;

namespace {

/// What a thread needs for a batch of rows.
struct RefitSpace {
  std::vector<float> codes;    ///< [rows, k]
  std::vector<float> products; ///< C H of one group, [rows, k]
  std::vector<double> systems; ///< [rows, unknowns, unknowns]
  std::vector<double> rights;  ///< [rows, unknowns]
};

/// What the rows of a matrix share.
class Refitter {
public:
  Refitter(const QuantizedMatrix &matrix, std::span<const float> w,
           const GptqFactor &factor);

  /// Rows whose products with H are taken together.
  int64_t batch() const;
  void refit(int64_t first, int64_t rows, RefitSpace &space,
             QuantizedMatrix &result) const;

private:
  bool isMinimum() const { return scheme.zero == ZeroKind::Minimum; }
  int64_t begin(int64_t group) const { return group * length; }
  int64_t end(int64_t group) const {
    return std::min(k, begin(group) + length);
  }
  void centerCodes(int64_t row, float *codes) const;
  void assembleCodes(int64_t group, const float *codes, const float *product,
                     const float *weights, double *system, double *right) const;
  void assembleOnes(const float *weights, double *system, double *right) const;
  void solveRow(int64_t row, double *system, double *right,
                QuantizedMatrix &result) const;

  const QuantizedMatrix &matrix;
  std::span<const float> w;
  const Scheme &scheme;
  ScaleGrid grid;
  int64_t k, length, groups, unknowns;
  double middle;
  std::vector<float> hessian;
  std::vector<float> ones;         ///< E H, [groups, k]
  std::vector<double> onesSquared; ///< E H E^T, [groups, groups]
};

} // namespace

Refitter::Refitter(const QuantizedMatrix &matrix, std::span<const float> w,
                   const GptqFactor &factor)
    : matrix(matrix), w(w), scheme(matrix.scheme), grid(scheme, matrix.nested),
      k(matrix.k), length(scheme.groupLength(k)), groups(scheme.numGroups(k)),
      unknowns(scheme.zero == ZeroKind::Minimum ? 2 * groups : groups),
      middle(static_cast<double>(int64_t(1) << (scheme.bits - 1))),
      hessian(factor.dampedHessian(false)) {
  if (!isMinimum())
    return;
  ones.resize(groups * k);
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t row = begin(group); row < end(group); ++row)
      for (int64_t column = 0; column < k; ++column)
        ones[group * k + column] += hessian[row * k + column];
  onesSquared.resize(groups * groups);
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t column = 0; column < k; ++column)
      onesSquared[group * groups + column / length] += ones[group * k + column];
}

int64_t Refitter::batch() const {
  constexpr int64_t kMostValues = 1 << 20;
  return std::clamp<int64_t>(kMostValues / (unknowns * unknowns), 1, kRowBlock);
}

/// The codes of a row as C holds them.
void Refitter::centerCodes(int64_t row, float *codes) const {
  if (scheme.table != CodeTable::Linear)
    return dequantizeTable(scheme.table, 1.0f,
                           std::span(matrix.codes).subspan(row * k, k), codes);
  for (int64_t group = 0; group < groups; ++group) {
    float shift = static_cast<float>(middle);
    if (scheme.zero == ZeroKind::Integer)
      shift = matrix.offsets[row * groups + group];
    for (int64_t i = begin(group); i < end(group); ++i)
      codes[i] = static_cast<float>(matrix.codes[row * k + i]) - shift;
  }
}

/// The sums of a * b, a * c and a, in f64.
QUANTOPT_CLONES static void sumThree(const float *a, const float *b,
                                     const float *c, int64_t count,
                                     double sums[3]) {
  using DoubleLanes = double __attribute__((ext_vector_type(16)));
  DoubleLanes withB = 0.0, withC = 0.0, alone = 0.0;
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes x = 0.0f, y = 0.0f, z = 0.0f;
    if (i + kLanes <= count) {
      load(x, a + i);
      load(y, b + i);
      load(z, c + i);
    } else {
      int64_t bytes = (count - i) * sizeof(float);
      std::memcpy(&x, a + i, bytes);
      std::memcpy(&y, b + i, bytes);
      std::memcpy(&z, c + i, bytes);
    }
    DoubleLanes wide = __builtin_convertvector(x, DoubleLanes);
    withB += wide * __builtin_convertvector(y, DoubleLanes);
    withC += wide * __builtin_convertvector(z, DoubleLanes);
    alone += wide;
  }
  sums[0] = sums[1] = sums[2] = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    sums[0] += withB[lane];
    sums[1] += withC[lane];
    sums[2] += alone[lane];
  }
}

/// The part of B H B^T (lower triangle) and B H w of one row that the line
/// `product` = C H of `group` gives. The unknowns are s, then b.
void Refitter::assembleCodes(int64_t group, const float *codes,
                             const float *product, const float *weights,
                             double *system, double *right) const {
  double sums[3];
  right[group] = 0;
  for (int64_t other = 0; other < groups; ++other) {
    int64_t at = begin(other), count = end(other) - at;
    sumThree(product + at, codes + at, weights + at, count, sums);
    system[group * unknowns + other] = sums[0];
    right[group] += sums[1];
    if (isMinimum())
      system[(groups + other) * unknowns + group] = sums[2];
  }
}

/// The part that E H gives.
void Refitter::assembleOnes(const float *weights, double *system,
                            double *right) const {
  double sums[3];
  for (int64_t group = 0; group < groups; ++group) {
    sumThree(ones.data() + group * k, weights, weights, k, sums);
    right[groups + group] = sums[0];
    std::copy_n(onesSquared.begin() + group * groups, groups,
                system + (groups + group) * unknowns + groups);
  }
}

/// Overwrites `x` with the solution of L L^T x = right side.
static void substitute(const double *lower, int64_t size, double *x) {
  for (int64_t i = 0; i < size; ++i) {
    double sum = x[i];
    for (int64_t j = 0; j < i; ++j)
      sum -= lower[i * size + j] * x[j];
    x[i] = sum / lower[i * size + i];
  }
  for (int64_t i = size - 1; i >= 0; --i) {
    x[i] /= lower[i * size + i];
    for (int64_t j = 0; j < i; ++j)
      x[j] -= lower[i * size + j] * x[i];
  }
}

void Refitter::solveRow(int64_t row, double *system, double *right,
                        QuantizedMatrix &result) const {
  double most = 0;
  for (int64_t i = 0; i < unknowns; ++i)
    most = std::max(most, system[i * unknowns + i]);
  for (int64_t i = 0; i < unknowns; ++i) {
    int64_t index = row * groups + i % groups;
    double old = matrix.scales[index];
    if (i >= groups)
      old = matrix.offsets[index] + middle * old;
    double &diagonal = system[i * unknowns + i];
    double hold = kHold * diagonal + kHoldAll * most;
    diagonal += hold;
    right[i] += hold * old;
  }
  if (!choleskyLower(system, unknowns, unknowns))
    return;
  substitute(system, unknowns, right);
  for (int64_t group = 0; group < groups; ++group) {
    int64_t index = row * groups + group;
    if (!(right[group] * matrix.scales[index] > 0))
      continue;
    StoredScale scale = grid.round(index, right[group]);
    result.scales[index] = scale.value;
    if (scheme.nesting != Nesting::None)
      result.nested.bytes[index] = scale.byte;
    if (isMinimum())
      result.offsets[index] =
          roundTo(scheme.scaleType, static_cast<float>(right[groups + group] -
                                                       middle * scale.value));
  }
}

void Refitter::refit(int64_t first, int64_t rows, RefitSpace &space,
                     QuantizedMatrix &result) const {
  int64_t size = unknowns * unknowns;
  space.codes.resize(rows * k);
  space.products.resize(rows * k);
  space.systems.resize(rows * size);
  space.rights.resize(rows * unknowns);
  const float *weights = w.data() + first * k;
  for (int64_t row = 0; row < rows; ++row)
    centerCodes(first + row, space.codes.data() + row * k);
  for (int64_t group = 0; group < groups; ++group) {
    multiply(rows, k, end(group) - begin(group), 1.0f,
             {space.codes.data() + begin(group), k},
             {hessian.data() + begin(group) * k, k}, 0.0f,
             space.products.data(), k);
    for (int64_t row = 0; row < rows; ++row)
      assembleCodes(group, space.codes.data() + row * k,
                    space.products.data() + row * k, weights + row * k,
                    space.systems.data() + row * size,
                    space.rights.data() + row * unknowns);
  }
  for (int64_t row = 0; row < rows; ++row) {
    double *system = space.systems.data() + row * size;
    double *right = space.rights.data() + row * unknowns;
    if (isMinimum())
      assembleOnes(weights + row * k, system, right);
    solveRow(first + row, system, right, result);
  }
}

QuantizedMatrix quantopt::refitScales(const QuantizedMatrix &matrix,
                                      std::span<const float> w,
                                      const GptqFactor &factor) {
  QuantizedMatrix result = matrix;
  if (matrix.scheme.granularity == Granularity::Tensor || matrix.n == 0 ||
      matrix.k == 0 || matrix.scheme.numGroups(matrix.k) > kMostGroups)
    return result;
  useSingleThreadedBlas();
  Refitter refitter(matrix, w, factor);
  int64_t batch = refitter.batch();
#pragma omp parallel
  {
    RefitSpace space;
#pragma omp for schedule(dynamic, 1)
    for (int64_t first = 0; first < matrix.n; first += batch)
      refitter.refit(first, std::min(batch, matrix.n - first), space, result);
  }
  return result;
}
