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

#include "Layouts.h"
#include "quantopt/Packing/ExpandedScales.h"

#include <algorithm>

using namespace quantopt;

/// Of a value of the second level of scales.
static constexpr int64_t kFloatBytes = 4;

PlaneSizes quantopt::planeSizes(const Scheme &scheme, int64_t n, int64_t k,
                                Layout layout) {
  const LayoutEntry &entry = layoutEntry(layout);
  int64_t rows = scheme.scaleRows(n), columns = scheme.scaleColumns(n, k);
  bool isNested = scheme.nesting != Nesting::None;
  PlaneSizes sizes;
  sizes.codes = entry.codeBytes(n, k, scheme.bits);
  sizes.scales = entry.scaleSlots(rows, columns) *
                 (isNested ? 1 : bitWidth(scheme.scaleType) / 8);
  if (scheme.zero == ZeroKind::Integer)
    sizes.offsets = entry.zeroBytes(rows, columns, scheme.bits);
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
  if (schemeIn(matrix.layout, matrix.scheme, matrix.n, matrix.k) !=
      matrix.scheme)
    return std::string("the layout ") + layoutName(matrix.layout) +
           " does not hold this scheme";
  PlaneSizes sizes =
      planeSizes(matrix.scheme, matrix.n, matrix.k, matrix.layout);
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

/// `values`, each at its slot of a plane of `slots`.
static std::vector<uint8_t> writeFloats(ScaleKind kind,
                                        std::span<const float> values,
                                        int64_t slots, auto slotOf) {
  int64_t bytes = bitWidth(kind) / 8;
  std::vector<uint8_t> plane(slots * bytes);
  for (int64_t index = 0; index < int64_t(values.size()); ++index) {
    uint32_t bits = encodeFloat(kind, values[index]);
    uint8_t *to = plane.data() + slotOf(index) * bytes;
    for (int64_t i = 0; i < bytes; ++i)
      to[i] = static_cast<uint8_t>(bits >> (8 * i));
  }
  return plane;
}

/// The second level of scales.
static std::vector<uint8_t> writeFloats(std::span<const float> values) {
  return writeFloats(ScaleKind::F32, values, values.size(),
                     [](int64_t index) { return index; });
}

/// Where scale `index`, counted row by row, lies in its plane.
static int64_t slotOf(const PackedMatrix &matrix, int64_t index) {
  return layoutEntry(matrix.layout)
      .scaleSlot(index, matrix.scheme.scaleColumns(matrix.n, matrix.k));
}

/// Scale `index`, as it is used.
static float readScale(const PackedMatrix &matrix, int64_t index) {
  Nesting nesting = matrix.scheme.nesting;
  int64_t slot = slotOf(matrix, index);
  if (nesting == Nesting::None)
    return readFloat(matrix.scheme.scaleType, matrix.scales.data(), slot);
  int64_t nestedIndex = index / nestedLength(nesting, matrix.scales.size());
  float offset = 0;
  if (nesting == Nesting::Dynamic)
    offset = readFloat(ScaleKind::F32, matrix.nestedOffset.data(), 0);
  return nestedScale(
      nesting, byteValues(nesting)[matrix.scales[slot]],
      readFloat(ScaleKind::F32, matrix.nestedScales.data(), nestedIndex),
      offset);
}

/// The offset that stands beside scale `index`.
static float readOffset(const PackedMatrix &matrix, int64_t index) {
  const Scheme &scheme = matrix.scheme;
  if (scheme.zero == ZeroKind::Symmetric)
    return 0;
  if (scheme.zero == ZeroKind::Minimum)
    return readFloat(scheme.scaleType, matrix.offsets.data(),
                     slotOf(matrix, index));
  return layoutEntry(matrix.layout)
      .readZero(matrix.offsets.data(), index,
                scheme.scaleColumns(matrix.n, matrix.k), scheme.bits);
}

PackedStorage quantopt::pack(const QuantizedMatrix &matrix, Layout layout) {
  const Scheme &scheme = matrix.scheme;
  const LayoutEntry &entry = layoutEntry(layout);
  int64_t n = matrix.n, k = matrix.k;
  int64_t rows = scheme.scaleRows(n), columns = scheme.scaleColumns(n, k);
  PlaneSizes sizes = planeSizes(scheme, n, k, layout);
  PackedStorage result{scheme, n, k, {}, {}, {}, layout};
  result.codes.resize(sizes.codes);
  int64_t tiles = (n + entry.tileRows - 1) / entry.tileRows;
#pragma omp parallel for schedule(static)
  for (int64_t tile = 0; tile < tiles; ++tile)
    entry.packCodes(matrix.codes.data(), n, k, scheme.bits, tile,
                    result.codes.data());

  auto write = [&](std::span<const float> values) {
    return writeFloats(
        scheme.scaleType, values, entry.scaleSlots(rows, columns),
        [&](int64_t index) { return entry.scaleSlot(index, columns); });
  };
  if (scheme.nesting == Nesting::None) {
    result.scales = write(matrix.scales);
  } else {
    result.scales = matrix.nested.bytes;
    result.nestedScales = writeFloats(matrix.nested.scales);
  }
  if (scheme.nesting == Nesting::Dynamic)
    result.nestedOffset = writeFloats({&matrix.nested.offset, 1});
  if (scheme.zero == ZeroKind::Minimum) {
    result.offsets = write(matrix.offsets);
  } else if (scheme.zero == ZeroKind::Integer) {
    std::vector<uint8_t> zeros(matrix.offsets.begin(), matrix.offsets.end());
    result.offsets.resize(sizes.offsets);
    entry.packZeros(zeros.data(), rows, columns, scheme.bits,
                    result.offsets.data());
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
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < n; ++row)
    layoutEntry(matrix.layout)
        .unpackCodes(matrix.codes.data(), k, scheme.bits, row, 0, k,
                     result.codes.data() + row * k);
  result.scales.resize(scheme.numScales(n, k));
  for (size_t i = 0; i < result.scales.size(); ++i)
    result.scales[i] = readScale(matrix, i);
  if (scheme.nesting != Nesting::None) {
    result.nested.bytes.assign(matrix.scales.begin(), matrix.scales.end());
    result.nested.scales.resize(matrix.nestedScales.size() / kFloatBytes);
    for (size_t i = 0; i < result.nested.scales.size(); ++i)
      result.nested.scales[i] =
          readFloat(ScaleKind::F32, matrix.nestedScales.data(), i);
  }
  if (scheme.nesting == Nesting::Dynamic)
    result.nested.offset =
        readFloat(ScaleKind::F32, matrix.nestedOffset.data(), 0);
  if (scheme.zero != ZeroKind::Symmetric)
    result.offsets.resize(result.scales.size());
  for (size_t i = 0; i < result.offsets.size(); ++i)
    result.offsets[i] = readOffset(matrix, i);
  return result;
}

PackedStorage quantopt::convertLayout(const PackedMatrix &matrix,
                                      Layout layout) {
  QuantizedMatrix plain = unpack(matrix);
  if (layoutEntry(layout).isExpanded)
    plain = expandScales(std::move(plain));
  return pack(plain, layout);
}

void quantopt::dequantizeRows(const PackedMatrix &matrix, int64_t rowBegin,
                              int64_t rowEnd, float *out) {
  const Scheme &scheme = matrix.scheme;
  const LayoutEntry &layout = layoutEntry(matrix.layout);
  int64_t k = matrix.k;
  // Codes of a stretch of columns, unpacked while they are in the first cache.
  // Groups may begin and end anywhere in it.
  constexpr int64_t kStretch = 64 * kCodeAlignment;
  uint8_t codes[kStretch];
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    float *target = out + (row - rowBegin) * k;
    for (int64_t first = 0; first < k; first += kStretch) {
      int64_t end = std::min(first + kStretch, k);
      layout.unpackCodes(matrix.codes.data(), k, scheme.bits, row, first,
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
