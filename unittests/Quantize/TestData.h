//===- TestData.h - Random matrices and slow references ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Data with fixed seeds, and plain f64 versions of what the library computes.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_UNITTESTS_QUANTIZE_TESTDATA_H
#define QUANTOPT_UNITTESTS_QUANTIZE_TESTDATA_H

#include "quantopt/Quantize/Scheme.h"

#include <cmath>
#include <random>
#include <vector>

namespace quantopt::testing {

inline std::vector<float> randomFloats(int64_t count, unsigned seed,
                                       float deviation = 1.0f,
                                       float mean = 0.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(engine);
  return values;
}

/// Inputs [rows, k] as layers see them: columns of very different size that
/// share a common part.
inline std::vector<float> correlatedInputs(int64_t rows, int64_t k,
                                           unsigned seed) {
  std::vector<float> x = randomFloats(rows * k, seed);
  std::vector<float> common = randomFloats(rows, seed + 1);
  std::vector<float> mix = randomFloats(k, seed + 2);
  std::vector<float> size = randomFloats(k, seed + 3, 0.7f);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < k; ++j)
      x[i * k + j] = std::exp(size[j]) * (x[i * k + j] + common[i] * mix[j]);
  return x;
}

/// X^T X / rows in f64, rounded to f32.
inline std::vector<float> slowHessian(const std::vector<float> &x, int64_t rows,
                                      int64_t k) {
  std::vector<float> h(k * k);
  for (int64_t a = 0; a < k; ++a)
    for (int64_t b = 0; b < k; ++b) {
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i)
        sum += double(x[i * k + a]) * x[i * k + b];
      h[a * k + b] = static_cast<float>(sum / rows);
    }
  return h;
}

/// d h d^T of one row.
inline double slowForm(const float *d, int64_t k, const std::vector<float> &h) {
  double sum = 0;
  for (int64_t a = 0; a < k; ++a)
    for (int64_t b = 0; b < k; ++b)
      sum += double(d[a]) * h[a * k + b] * d[b];
  return sum;
}

/// Where the scale of a weight stands, straight from the definition.
inline int64_t slowScaleIndex(const Scheme &scheme, int64_t row, int64_t column,
                              int64_t k) {
  int64_t size = scheme.groupSize;
  switch (scheme.granularity) {
  case Granularity::Tensor:
    return 0;
  case Granularity::Channel:
    return row;
  case Granularity::Group:
    return row * ((k + size - 1) / size) + column / size;
  case Granularity::Flat:
    return (row * k + column) / size;
  }
  return -1;
}

/// The value of one code, straight from the definition of ZeroKind and
/// CodeTable.
inline float slowValue(const QuantizedMatrix &m, int64_t row, int64_t column,
                       int code) {
  int64_t index = slowScaleIndex(m.scheme, row, column, m.k);
  volatile float scale = m.scales[index];
  if (m.scheme.table != CodeTable::Linear)
    return tableValues(m.scheme.table)[code] * scale;
  if (m.scheme.zero == ZeroKind::Symmetric)
    return static_cast<float>(code - (1 << (m.scheme.bits - 1))) * scale;
  if (m.scheme.zero == ZeroKind::Integer)
    return (static_cast<float>(code) - m.offsets[index]) * scale;
  volatile float product = static_cast<float>(code) * scale;
  return product + m.offsets[index];
}

inline std::vector<float> dequantized(const QuantizedMatrix &m) {
  std::vector<float> out(m.n * m.k);
  dequantize(m, out);
  return out;
}

inline bool sameBytes(const QuantizedMatrix &a, const QuantizedMatrix &b) {
  return a.scheme == b.scheme && a.n == b.n && a.k == b.k &&
         a.codes == b.codes && a.scales == b.scales && a.offsets == b.offsets &&
         a.nested == b.nested;
}

inline const ZeroKind kZeroKinds[] = {ZeroKind::Symmetric, ZeroKind::Integer,
                                      ZeroKind::Minimum};
inline const Granularity kGranularities[] = {
    Granularity::Tensor, Granularity::Channel, Granularity::Group};
inline const ScaleKind kScaleKinds[] = {ScaleKind::F16, ScaleKind::BF16,
                                        ScaleKind::F32, ScaleKind::E8M0,
                                        ScaleKind::E4M3};
inline const CodeTable kCodeTables[] = {CodeTable::NF4, CodeTable::FP4,
                                        CodeTable::IQ4NL, CodeTable::E2M1};

/// One scheme for each way in which codes become values.
inline std::vector<Scheme> allKinds(unsigned bits, Granularity granularity,
                                    int64_t groupSize, ScaleKind scaleType) {
  std::vector<Scheme> schemes;
  for (ZeroKind zero : kZeroKinds)
    schemes.push_back({bits, granularity, groupSize, zero, scaleType});
  for (CodeTable table : kCodeTables)
    schemes.push_back(
        {4, granularity, groupSize, ZeroKind::Symmetric, scaleType, table});
  return schemes;
}

/// A scheme drawn from those whose groups end with a row and whose scales are
/// not nested.
inline Scheme randomScheme(std::mt19937 &engine) {
  Scheme scheme;
  scheme.bits = 2 + engine() % 7;
  scheme.granularity = kGranularities[engine() % 3];
  const int64_t sizes[] = {1, 3, 8, 16, 17, 32, 64, 1000};
  scheme.groupSize = sizes[engine() % 8];
  scheme.zero = kZeroKinds[engine() % 3];
  scheme.scaleType =
      kScaleKinds[engine() % (scheme.zero == ZeroKind::Minimum ? 3 : 5)];
  if (engine() % 2) {
    scheme.bits = 4;
    scheme.zero = ZeroKind::Symmetric;
    scheme.table = kCodeTables[engine() % 4];
  }
  return scheme;
}

/// A scheme drawn from all there are.
inline Scheme anyScheme(std::mt19937 &engine) {
  Scheme scheme = randomScheme(engine);
  if (engine() % 4 == 0)
    scheme.granularity = Granularity::Flat;
  if (scheme.table == CodeTable::Linear)
    return scheme;
  scheme.nesting = static_cast<Nesting>(engine() % 3);
  if (scheme.nesting == Nesting::Dynamic)
    scheme.scaleType = ScaleKind::F32;
  else if (scheme.nesting == Nesting::PerTensor)
    scheme.scaleType = ScaleKind::E4M3;
  return scheme;
}

} // namespace quantopt::testing

#endif // QUANTOPT_UNITTESTS_QUANTIZE_TESTDATA_H
