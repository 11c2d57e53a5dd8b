//===- Scheme.cpp - What a quantized matrix is ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rules, sizes and the meaning of a quantized matrix.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Scheme.h"

#include "Lanes.h"

#include <algorithm>
#include <cmath>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

double Scheme::bitsPerWeight(int64_t n, int64_t k) const {
  if (n <= 0 || k <= 0)
    return 0;
  double perGroup = bitWidth(scaleType);
  if (zero == ZeroKind::Integer)
    perGroup += bits;
  else if (zero == ZeroKind::Minimum)
    perGroup += bitWidth(scaleType);
  double groups = static_cast<double>(scaleRows(n)) * numGroups(k);
  return bits + perGroup * groups / (static_cast<double>(n) * k);
}

std::string Scheme::verify() const {
  if (bits < 2 || bits > 8)
    return "bits must be 2 to 8, but is " + std::to_string(bits);
  if (granularity == Granularity::Group && groupSize < 1)
    return "group size must be at least 1, but is " + std::to_string(groupSize);
  return {};
}

static std::string verifyGroups(const QuantizedMatrix &matrix) {
  const Scheme &scheme = matrix.scheme;
  bool symmetric = scheme.zero == ZeroKind::Symmetric;
  size_t groups = scheme.scaleRows(matrix.n) * scheme.numGroups(matrix.k);
  if (matrix.scales.size() != groups)
    return "there must be " + std::to_string(groups) + " scales, but are " +
           std::to_string(matrix.scales.size());
  if (matrix.offsets.size() != (symmetric ? 0 : groups))
    return "there must be " + std::to_string(symmetric ? 0 : groups) +
           " offsets, but are " + std::to_string(matrix.offsets.size());
  auto stored = [&](float value) {
    return std::isfinite(value) && roundTo(scheme.scaleType, value) == value;
  };
  if (!std::all_of(matrix.scales.begin(), matrix.scales.end(), stored))
    return "a scale is not finite or no value of the scale type";
  auto validOffset = [&](float value) {
    if (scheme.zero == ZeroKind::Minimum)
      return stored(value);
    return value >= 0 && value <= scheme.maxCode() && value == std::rint(value);
  };
  if (!std::all_of(matrix.offsets.begin(), matrix.offsets.end(), validOffset))
    return "an offset is out of its range";
  return {};
}

std::string quantopt::verify(const QuantizedMatrix &matrix) {
  std::string error = matrix.scheme.verify();
  if (!error.empty())
    return error;
  if (matrix.n < 0 || matrix.k < 0)
    return "a dimension is negative";
  if (static_cast<int64_t>(matrix.codes.size()) != matrix.n * matrix.k)
    return "there must be " + std::to_string(matrix.n * matrix.k) +
           " codes, but are " + std::to_string(matrix.codes.size());
  for (uint8_t code : matrix.codes)
    if (code > matrix.scheme.maxCode())
      return "a code is above " + std::to_string(matrix.scheme.maxCode());
  return verifyGroups(matrix);
}

std::string quantopt::findNonFinite(std::span<const float> values, int64_t n,
                                    int64_t k) {
  for (int64_t row = 0; row < n; ++row) {
    const float *data = values.data() + row * k;
    // One pass without a branch per value; the place is sought only if needed.
    // x * 0 is 0 exactly for finite x.
    float probe = 0;
    for (int64_t column = 0; column < k; ++column)
      probe += data[column] * 0.0f;
    if (probe == 0)
      continue;
    for (int64_t column = 0; column < k; ++column)
      if (!std::isfinite(data[column]))
        return "row " + std::to_string(row) + " column " +
               std::to_string(column);
  }
  return {};
}

/// out = code * scale + offset, or (code - offset) * scale.
template <bool isMinimum>
QUANTOPT_INLINE void dequantizeLoop(const uint8_t *codes, int64_t count,
                                    float scale, float offset, float *out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    ByteLanes bytes;
    std::memcpy(&bytes, codes + i, sizeof(bytes));
    FloatLanes code = __builtin_convertvector(
        __builtin_convertvector(bytes, IntLanes), FloatLanes);
    FloatLanes value;
    if constexpr (isMinimum) {
      FloatLanes product = code * scale;
      value = product + offset;
    } else {
      value = (code - offset) * scale;
    }
    store(out + i, value);
  }
  for (; i < count; ++i) {
    float code = codes[i];
    if constexpr (isMinimum) {
      float product = code * scale;
      out[i] = product + offset;
    } else {
      out[i] = (code - offset) * scale;
    }
  }
}

QUANTOPT_CLONES static void dequantizeMinimum(const uint8_t *codes,
                                              int64_t count, float scale,
                                              float offset, float *out) {
  dequantizeLoop<true>(codes, count, scale, offset, out);
}

QUANTOPT_CLONES static void dequantizeZero(const uint8_t *codes, int64_t count,
                                           float scale, float zero,
                                           float *out) {
  dequantizeLoop<false>(codes, count, scale, zero, out);
}

void quantopt::dequantizeGroup(const Scheme &scheme, float scale, float offset,
                               std::span<const uint8_t> codes, float *out) {
  if (scheme.zero == ZeroKind::Minimum)
    return dequantizeMinimum(codes.data(), codes.size(), scale, offset, out);
  if (scheme.zero == ZeroKind::Symmetric)
    offset = static_cast<float>(int64_t(1) << (scheme.bits - 1));
  dequantizeZero(codes.data(), codes.size(), scale, offset, out);
}

void quantopt::dequantizeRows(const QuantizedMatrix &matrix, int64_t rowBegin,
                              int64_t rowEnd, std::span<float> out) {
  const Scheme &scheme = matrix.scheme;
  int64_t k = matrix.k;
  int64_t length = scheme.groupLength(k), groups = scheme.numGroups(k);
  bool shared = scheme.granularity == Granularity::Tensor;
  std::span<const uint8_t> codes(matrix.codes);
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      int64_t begin = group * length, count = std::min(length, k - begin);
      int64_t index = (shared ? 0 : row * groups) + group;
      float offset = matrix.offsets.empty() ? 0.0f : matrix.offsets[index];
      dequantizeGroup(scheme, matrix.scales[index], offset,
                      codes.subspan(row * k + begin, count),
                      out.data() + (row - rowBegin) * k + begin);
    }
  }
}

void quantopt::dequantize(const QuantizedMatrix &matrix, std::span<float> out) {
  dequantizeRows(matrix, 0, matrix.n, out);
}
