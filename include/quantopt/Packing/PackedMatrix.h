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

#include <optional>
#include <string_view>

namespace quantopt {

/// How the planes lie in memory. Each is one entry of a table in
/// lib/Packing/Layouts.cpp.
enum class Layout : uint8_t {
  Dense, ///< row after row: codes and zeros as Dense.h says
  Nvptx, ///< in the order of tensor-core operands, see FragmentOrder.h
  Cpu,   ///< in lines of 16 rows for dot products of bytes, see LineOrder.h
};

/// Name of a layout, as options and attributes spell it, and back.
const char *layoutName(Layout layout);
std::optional<Layout> layoutNamed(std::string_view name);

/// The scheme in which `layout` holds an [n, k] matrix of `scheme`. Dense holds
/// any, the others those that expandedScheme gives; nothing if that does.
std::optional<Scheme> schemeIn(Layout layout, const Scheme &scheme, int64_t n,
                               int64_t k);

/// Bytes of each plane; 0 for those that the scheme does not have.
struct PlaneSizes {
  int64_t codes = 0, scales = 0, offsets = 0;
  int64_t nestedScales = 0, nestedOffset = 0;
  int64_t total() const {
    return codes + scales + offsets + nestedScales + nestedOffset;
  }
};

PlaneSizes planeSizes(const Scheme &scheme, int64_t n, int64_t k,
                      Layout layout = Layout::Dense);

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
/// and four bytes are little-endian and need not be aligned. The shapes below
/// are those of Layout::Dense.
struct PackedMatrix {
  Scheme scheme;
  int64_t n = 0, k = 0;
  std::span<const uint8_t> codes; ///< [n, denseRowBytes(k, bits)]
  /// [scaleRows, scaleColumns] of scaleType; of bytes if they are nested.
  std::span<const uint8_t> scales;
  /// Integer: zero points, packed densely, each of scaleRows rows on a byte.
  /// Minimum: as `scales`. Symmetric: empty.
  std::span<const uint8_t> offsets;
  Layout layout = Layout::Dense;
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
  Layout layout = Layout::Dense;
  std::vector<uint8_t> nestedScales = {}, nestedOffset = {};

  PackedMatrix view() const {
    return {scheme,       n,           k, codes, scales, offsets, layout,
            nestedScales, nestedOffset};
  }
  /// As of PackedMatrix.
  template <typename FunctionT> void forEachPlane(FunctionT function) {
    detail::forEachPlane(*this, function);
  }
};

/// Empty if the scheme is valid, the layout holds it and each plane has its
/// size, else what is wrong.
std::string verify(const PackedMatrix &matrix);

/// `matrix`, of a scheme that `layout` holds, as bytes. The inverse of unpack,
/// exactly; what a layout pads is 0. On all threads.
PackedStorage pack(const QuantizedMatrix &matrix,
                   Layout layout = Layout::Dense);

/// The planes of a matrix that verifies, as codes and floats. On all threads.
QuantizedMatrix unpack(const PackedMatrix &matrix);

/// A matrix that verifies in another layout, which holds it: equal values, bit
/// for bit, in the scheme that schemeIn gives. On all threads.
PackedStorage convertLayout(const PackedMatrix &matrix, Layout layout);

/// Rows [rowBegin, rowEnd) as floats into `out` [rowEnd - rowBegin, k],
/// straight from the packed planes; equal to dequantize(unpack(matrix)) bit for
/// bit. On the calling thread only.
void dequantizeRows(const PackedMatrix &matrix, int64_t rowBegin,
                    int64_t rowEnd, float *out);

} // namespace quantopt

#endif // QUANTOPT_PACKING_PACKEDMATRIX_H
