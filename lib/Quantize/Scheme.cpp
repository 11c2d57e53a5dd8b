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

#include "CodeTables.h"

#include <algorithm>
#include <cmath>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

int64_t Scheme::scaleIndex(int64_t row, int64_t column, int64_t k) const {
  if (granularity == Granularity::Flat)
    return (row * k + column) / groupSize;
  int64_t group = column / groupLength(k);
  return granularity == Granularity::Tensor ? group
                                            : row * numGroups(k) + group;
}

int64_t Scheme::groupEnd(int64_t row, int64_t column, int64_t k) const {
  bool isFlat = granularity == Granularity::Flat;
  int64_t length = isFlat ? groupSize : groupLength(k);
  int64_t begin = isFlat ? row * k : 0;
  int64_t end = ((begin + column) / length + 1) * length - begin;
  return std::min(end, k);
}

Scheme Scheme::forRows(int64_t k) const {
  Scheme result = *this;
  if (granularity == Granularity::Flat && k % groupSize == 0)
    result.granularity = Granularity::Group;
  return result;
}

double Scheme::bitsPerWeight(int64_t n, int64_t k) const {
  if (n <= 0 || k <= 0)
    return 0;
  int64_t count = numScales(n, k);
  double perScale = nesting == Nesting::None ? bitWidth(scaleType) : 8;
  if (zero == ZeroKind::Integer)
    perScale += bits;
  else if (zero == ZeroKind::Minimum)
    perScale += bitWidth(scaleType);
  double total = perScale * count + 32.0 * numNested(nesting, count) +
                 (nesting == Nesting::Dynamic ? 32 : 0);
  return bits + total / (static_cast<double>(n) * k);
}

std::string Scheme::verify() const {
  if (bits < 2 || bits > 8)
    return "bits must be 2 to 8, but is " + std::to_string(bits);
  bool usesSize =
      granularity == Granularity::Group || granularity == Granularity::Flat;
  if (usesSize && groupSize < 1)
    return "group size must be at least 1, but is " + std::to_string(groupSize);
  if (zero == ZeroKind::Minimum && bitWidth(scaleType) == 8)
    return "a minimum beside the scale takes a scale type of f16, bf16 or f32";
  if (table != CodeTable::Linear && bits != 4)
    return "a code table has 4 bits, not " + std::to_string(bits);
  if (table != CodeTable::Linear && zero != ZeroKind::Symmetric)
    return "a code table has neither zero point nor minimum";
  if (nesting != Nesting::None && table == CodeTable::Linear)
    return "nested scales go with a code table only";
  if (nesting == Nesting::Dynamic && scaleType != ScaleKind::F32)
    return "scales nested by the dynamic map have scale type f32";
  if (nesting == Nesting::PerTensor && scaleType != ScaleKind::E4M3)
    return "scales with a factor for the whole tensor have scale type e4m3";
  return {};
}

/// The second level of a matrix that has one, and that `scales` follow from it.
static std::string verifyNested(const QuantizedMatrix &matrix) {
  Nesting nesting = matrix.scheme.nesting;
  const NestedScales &nested = matrix.nested;
  int64_t count = matrix.scales.size();
  if (nesting == Nesting::None)
    return nested == NestedScales() ? "" : "scales are not nested";
  if (static_cast<int64_t>(nested.bytes.size()) != count ||
      static_cast<int64_t>(nested.scales.size()) != numNested(nesting, count))
    return "the second level of scales is not of its size";
  const ByteValues &values = byteValues(nesting);
  for (int64_t i = 0; i < count; ++i)
    if (nestedScale(nesting, values[nested.bytes[i]],
                    nested.scales[i / nestedLength(nesting, count)],
                    nested.offset) != matrix.scales[i])
      return "a scale is not what its second level says";
  return {};
}

static std::string verifyGroups(const QuantizedMatrix &matrix) {
  const Scheme &scheme = matrix.scheme;
  bool symmetric = scheme.zero == ZeroKind::Symmetric;
  size_t groups = scheme.numScales(matrix.n, matrix.k);
  if (matrix.scales.size() != groups)
    return "there must be " + std::to_string(groups) + " scales, but are " +
           std::to_string(matrix.scales.size());
  if (matrix.offsets.size() != (symmetric ? 0 : groups))
    return "there must be " + std::to_string(symmetric ? 0 : groups) +
           " offsets, but are " + std::to_string(matrix.offsets.size());
  auto stored = [&](float value) {
    return std::isfinite(value) && (scheme.nesting != Nesting::None ||
                                    roundTo(scheme.scaleType, value) == value);
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
  return verifyNested(matrix);
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
  if (scheme.table != CodeTable::Linear)
    return dequantizeTable(scheme.table, scale, codes, out);
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
  std::span<const uint8_t> codes(matrix.codes);
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    for (int64_t begin = 0, end; begin < k; begin = end) {
      end = scheme.groupEnd(row, begin, k);
      int64_t index = scheme.scaleIndex(row, begin, k);
      float offset = matrix.offsets.empty() ? 0.0f : matrix.offsets[index];
      dequantizeGroup(scheme, matrix.scales[index], offset,
                      codes.subspan(row * k + begin, end - begin),
                      out.data() + (row - rowBegin) * k + begin);
    }
  }
}

void quantopt::dequantize(const QuantizedMatrix &matrix, std::span<float> out) {
  dequantizeRows(matrix, 0, matrix.n, out);
}
