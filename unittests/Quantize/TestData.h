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

/// The value of one code, straight from the definition of ZeroKind.
inline float slowValue(const QuantizedMatrix &m, int64_t row, int64_t column,
                       int code) {
  int64_t group = column / m.scheme.groupLength(m.k);
  int64_t index = m.scheme.granularity == Granularity::Tensor
                      ? 0
                      : row * m.scheme.numGroups(m.k) + group;
  volatile float scale = m.scales[index];
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
         a.codes == b.codes && a.scales == b.scales && a.offsets == b.offsets;
}

inline const ZeroKind kZeroKinds[] = {ZeroKind::Symmetric, ZeroKind::Integer,
                                      ZeroKind::Minimum};
inline const Granularity kGranularities[] = {
    Granularity::Tensor, Granularity::Channel, Granularity::Group};
inline const FloatKind kFloatKinds[] = {FloatKind::F16, FloatKind::BF16,
                                        FloatKind::F32};

/// A scheme drawn from all there are.
inline Scheme randomScheme(std::mt19937 &engine) {
  Scheme scheme;
  scheme.bits = 2 + engine() % 7;
  scheme.granularity = kGranularities[engine() % 3];
  const int64_t sizes[] = {1, 3, 8, 16, 17, 32, 64, 1000};
  scheme.groupSize = sizes[engine() % 8];
  scheme.zero = kZeroKinds[engine() % 3];
  scheme.scaleType = kFloatKinds[engine() % 3];
  return scheme;
}

} // namespace quantopt::testing

#endif // QUANTOPT_UNITTESTS_QUANTIZE_TESTDATA_H
