//===- PackedMatrix.cpp - A quantized matrix as bytes ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sizes, packing and unpacking of the planes, and float rows from them.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Packing/PackedMatrix.h"

#include "CodeOrders.h"
#include "quantopt/Packing/Dense.h"

#include <algorithm>

using namespace quantopt;

/// Of a value of the second level of scales.
static constexpr int64_t kFloatBytes = 4;

PlaneSizes quantopt::planeSizes(const Scheme &scheme, int64_t n, int64_t k,
                                CodeOrder order) {
  int64_t rows = scheme.scaleRows(n), columns = scheme.scaleColumns(n, k);
  bool isNested = scheme.nesting != Nesting::None;
  PlaneSizes sizes;
  sizes.codes = codeOrderEntry(order).planeBytes(n, k, scheme.bits);
  sizes.scales =
      rows * columns * (isNested ? 1 : bitWidth(scheme.scaleType) / 8);
  if (scheme.zero == ZeroKind::Integer)
    sizes.offsets = rows * denseRowBytes(columns, scheme.bits);
  else if (scheme.zero == ZeroKind::Minimum)
    sizes.offsets = sizes.scales;
  sizes.nestedScales = kFloatBytes * numNested(scheme.nesting, rows * columns);
  if (scheme.nesting == Nesting::Dynamic)
    sizes.nestedOffset = kFloatBytes;
  return sizes;
}

static std::string checkSize(const char *plane, size_t actual,
                             int64_t expected) {
  if (static_cast<int64_t>(actual) == expected)
    return {};
  return std::string("the plane of ") + plane + " must have " +
         std::to_string(expected) + " bytes, but has " + std::to_string(actual);
}

std::string quantopt::verify(const PackedMatrix &matrix) {
  std::string error = matrix.scheme.verify();
  if (!error.empty())
    return error;
  if (matrix.n < 0 || matrix.k < 0)
    return "a dimension is negative";
  PlaneSizes sizes =
      planeSizes(matrix.scheme, matrix.n, matrix.k, matrix.order);
  error = checkSize("codes", matrix.codes.size(), sizes.codes);
  if (error.empty())
    error = checkSize("scales", matrix.scales.size(), sizes.scales);
  if (error.empty())
    error = checkSize("offsets", matrix.offsets.size(), sizes.offsets);
  if (error.empty())
    error = checkSize("nested scales", matrix.nestedScales.size(),
                      sizes.nestedScales);
  if (error.empty())
    error = checkSize("nested offset", matrix.nestedOffset.size(),
                      sizes.nestedOffset);
  return error;
}

/// Value `index` of a plane of floats.
static float readFloat(ScaleKind kind, const uint8_t *plane, int64_t index) {
  int64_t bytes = bitWidth(kind) / 8;
  uint32_t bits = 0;
  for (int64_t i = 0; i < bytes; ++i)
    bits |= uint32_t(plane[index * bytes + i]) << (8 * i);
  return decodeFloat(kind, bits);
}

static std::vector<uint8_t> writeFloats(ScaleKind kind,
                                        std::span<const float> values) {
  int64_t bytes = bitWidth(kind) / 8;
  std::vector<uint8_t> plane;
  plane.reserve(values.size() * bytes);
  for (float value : values) {
    uint32_t bits = encodeFloat(kind, value);
    for (int64_t i = 0; i < bytes; ++i)
      plane.push_back(static_cast<uint8_t>(bits >> (8 * i)));
  }
  return plane;
}

static std::vector<float> readFloats(ScaleKind kind,
                                     std::span<const uint8_t> plane) {
  std::vector<float> values(plane.size() / (bitWidth(kind) / 8));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = readFloat(kind, plane.data(), i);
  return values;
}

/// Scale `index`, as it is used.
static float readScale(const PackedMatrix &matrix, int64_t index) {
  Nesting nesting = matrix.scheme.nesting;
  if (nesting == Nesting::None)
    return readFloat(matrix.scheme.scaleType, matrix.scales.data(), index);
  int64_t nestedIndex = index / nestedLength(nesting, matrix.scales.size());
  float offset = 0;
  if (nesting == Nesting::Dynamic)
    offset = readFloat(ScaleKind::F32, matrix.nestedOffset.data(), 0);
  return nestedScale(
      nesting, byteValues(nesting)[matrix.scales[index]],
      readFloat(ScaleKind::F32, matrix.nestedScales.data(), nestedIndex),
      offset);
}

PackedStorage quantopt::pack(const QuantizedMatrix &matrix, CodeOrder order) {
  const Scheme &scheme = matrix.scheme;
  PackedStorage result{scheme, matrix.n, matrix.k, {}, {}, {}, order};
  result.codes.resize(planeSizes(scheme, matrix.n, matrix.k, order).codes);
  codeOrderEntry(order).pack(matrix.codes.data(), matrix.n, matrix.k,
                             scheme.bits, result.codes.data());
  if (scheme.nesting == Nesting::None) {
    result.scales = writeFloats(scheme.scaleType, matrix.scales);
  } else {
    result.scales = matrix.nested.bytes;
    result.nestedScales = writeFloats(ScaleKind::F32, matrix.nested.scales);
  }
  if (scheme.nesting == Nesting::Dynamic)
    result.nestedOffset =
        writeFloats(ScaleKind::F32, {&matrix.nested.offset, 1});
  if (scheme.zero == ZeroKind::Minimum) {
    result.offsets = writeFloats(scheme.scaleType, matrix.offsets);
  } else if (scheme.zero == ZeroKind::Integer) {
    std::vector<uint8_t> zeros(matrix.offsets.begin(), matrix.offsets.end());
    result.offsets =
        packDense(zeros, scheme.scaleRows(matrix.n),
                  scheme.scaleColumns(matrix.n, matrix.k), scheme.bits);
  }
  return result;
}

QuantizedMatrix quantopt::unpack(const PackedMatrix &matrix) {
  const Scheme &scheme = matrix.scheme;
  int64_t n = matrix.n, k = matrix.k;
  QuantizedMatrix result;
  result.scheme = scheme;
  result.n = n;
  result.k = k;
  result.codes.resize(n * k);
  for (int64_t row = 0; row < n; ++row)
    codeOrderEntry(matrix.order)
        .unpack(matrix.codes.data(), n, k, scheme.bits, row, 0, k,
                result.codes.data() + row * k);
  if (scheme.nesting == Nesting::None) {
    result.scales = readFloats(scheme.scaleType, matrix.scales);
  } else {
    result.nested.bytes.assign(matrix.scales.begin(), matrix.scales.end());
    result.nested.scales = readFloats(ScaleKind::F32, matrix.nestedScales);
    result.scales.resize(matrix.scales.size());
    for (size_t i = 0; i < result.scales.size(); ++i)
      result.scales[i] = readScale(matrix, i);
  }
  if (scheme.nesting == Nesting::Dynamic)
    result.nested.offset =
        readFloat(ScaleKind::F32, matrix.nestedOffset.data(), 0);
  if (scheme.zero == ZeroKind::Minimum) {
    result.offsets = readFloats(scheme.scaleType, matrix.offsets);
  } else if (scheme.zero == ZeroKind::Integer) {
    std::vector<uint8_t> zeros =
        unpackDense(matrix.offsets, scheme.scaleRows(n),
                    scheme.scaleColumns(n, k), scheme.bits);
    result.offsets.assign(zeros.begin(), zeros.end());
  }
  return result;
}

/// Field `column` of the densely packed row at `row`.
static float readZero(const uint8_t *row, int64_t rowBytes, int64_t column,
                      unsigned bits) {
  int64_t bit = column * bits, byte = bit / 8;
  unsigned word = row[byte];
  if (byte + 1 < rowBytes)
    word |= unsigned(row[byte + 1]) << 8;
  return static_cast<float>((word >> (bit % 8)) & ((1u << bits) - 1));
}

/// The offset that stands beside scale `index`.
static float readOffset(const PackedMatrix &matrix, int64_t index) {
  const Scheme &scheme = matrix.scheme;
  if (scheme.zero == ZeroKind::Symmetric)
    return 0;
  if (scheme.zero == ZeroKind::Minimum)
    return readFloat(scheme.scaleType, matrix.offsets.data(), index);
  int64_t columns = scheme.scaleColumns(matrix.n, matrix.k);
  int64_t bytes = denseRowBytes(columns, scheme.bits);
  return readZero(matrix.offsets.data() + index / columns * bytes, bytes,
                  index % columns, scheme.bits);
}

void quantopt::dequantizeRows(const PackedMatrix &matrix, int64_t rowBegin,
                              int64_t rowEnd, float *out) {
  const Scheme &scheme = matrix.scheme;
  const CodeOrderEntry &order = codeOrderEntry(matrix.order);
  int64_t k = matrix.k;
  // Codes of a stretch of columns, unpacked while they are in the first cache.
  // Groups may begin and end anywhere in it.
  constexpr int64_t kStretch = 64 * kCodeAlignment;
  uint8_t codes[kStretch];
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    float *target = out + (row - rowBegin) * k;
    for (int64_t first = 0; first < k; first += kStretch) {
      int64_t end = std::min(first + kStretch, k);
      order.unpack(matrix.codes.data(), matrix.n, k, scheme.bits, row, first,
                   end - first, codes);
      for (int64_t begin = first, stop; begin < end; begin = stop) {
        stop = std::min(end, scheme.groupEnd(row, begin, k));
        int64_t index = scheme.scaleIndex(row, begin, k);
        dequantizeGroup(
            scheme, readScale(matrix, index), readOffset(matrix, index),
            {codes + (begin - first), size_t(stop - begin)}, target + begin);
      }
    }
  }
}
