//===- PackedMatrix.h - A quantized matrix as bytes -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The planes of a quantized matrix as they are stored: packed codes, raw
// scales, packed zero points or raw minima, and the second level of scales.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PACKING_PACKEDMATRIX_H
#define QUANTOPT_PACKING_PACKEDMATRIX_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// The order of the code bits. Each is one entry of a table in
/// lib/Packing/CodeOrders.cpp: its name, row size, pack and unpack.
enum class CodeOrder : uint8_t {
  Dense, ///< see Dense.h
};

/// Name of an order, as options and attributes spell it.
const char *codeOrderName(CodeOrder order);

/// Bytes of each plane; 0 for those that the scheme does not have.
struct PlaneSizes {
  int64_t codes = 0, scales = 0, offsets = 0;
  int64_t nestedScales = 0, nestedOffset = 0;
  int64_t total() const {
    return codes + scales + offsets + nestedScales + nestedOffset;
  }
};

PlaneSizes planeSizes(const Scheme &scheme, int64_t n, int64_t k,
                      CodeOrder order = CodeOrder::Dense);

namespace detail {
/// Planes that the scheme of `matrix` has, of PackedMatrix or PackedStorage.
template <typename MatrixT, typename FunctionT>
void forEachPlane(MatrixT &matrix, FunctionT &function) {
  function("codes", matrix.codes);
  function("scales", matrix.scales);
  if (matrix.scheme.zero != ZeroKind::Symmetric)
    function("offsets", matrix.offsets);
  if (matrix.scheme.nesting != Nesting::None)
    function("nested_scales", matrix.nestedScales);
  if (matrix.scheme.nesting == Nesting::Dynamic)
    function("nested_offset", matrix.nestedOffset);
}
} // namespace detail

/// Planes that live elsewhere (a mapped file, a dense_resource). Values of two
/// and four bytes are little-endian and need not be aligned.
struct PackedMatrix {
  Scheme scheme;
  int64_t n = 0, k = 0;
  std::span<const uint8_t> codes; ///< [n] rows in `order`
  /// [scaleRows, scaleColumns] of scaleType; of bytes if they are nested.
  std::span<const uint8_t> scales;
  /// Integer: zero points, packed densely, each of scaleRows rows on a byte.
  /// Minimum: as `scales`. Symmetric: empty.
  std::span<const uint8_t> offsets;
  CodeOrder order = CodeOrder::Dense;
  /// NestedScales: f32 each. Empty where the scheme has none.
  std::span<const uint8_t> nestedScales = {}, nestedOffset = {};

  /// Calls `function(name, plane)` for each plane that the scheme has, in the
  /// order codes, scales, offsets, nested_scales, nested_offset.
  template <typename FunctionT> void forEachPlane(FunctionT function) {
    detail::forEachPlane(*this, function);
  }
  template <typename FunctionT> void forEachPlane(FunctionT function) const {
    detail::forEachPlane(*this, function);
  }
};

/// Planes that are owned.
struct PackedStorage {
  Scheme scheme;
  int64_t n = 0, k = 0;
  std::vector<uint8_t> codes, scales, offsets;
  CodeOrder order = CodeOrder::Dense;
  std::vector<uint8_t> nestedScales = {}, nestedOffset = {};

  PackedMatrix view() const {
    return {scheme,       n,           k, codes, scales, offsets, order,
            nestedScales, nestedOffset};
  }
  /// As of PackedMatrix.
  template <typename FunctionT> void forEachPlane(FunctionT function) {
    detail::forEachPlane(*this, function);
  }
};

/// Empty if the scheme is valid and each plane has its size, else what is
/// wrong.
std::string verify(const PackedMatrix &matrix);

/// `matrix` as bytes. The inverse of unpack, exactly.
PackedStorage pack(const QuantizedMatrix &matrix,
                   CodeOrder order = CodeOrder::Dense);

/// The planes of a matrix that verifies, as codes and floats.
QuantizedMatrix unpack(const PackedMatrix &matrix);

/// Rows [rowBegin, rowEnd) as floats into `out` [rowEnd - rowBegin, k],
/// straight from the packed planes; equal to dequantize(unpack(matrix)) bit for
/// bit. On the calling thread only.
void dequantizeRows(const PackedMatrix &matrix, int64_t rowBegin,
                    int64_t rowEnd, float *out);

} // namespace quantopt

#endif // QUANTOPT_PACKING_PACKEDMATRIX_H
