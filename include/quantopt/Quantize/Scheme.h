//===- Scheme.h - What a quantized matrix is --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Codes of 2 to 8 bits with a scale per group. A code stands for an integer,
// with nothing, an integer zero point or a real minimum beside the scale, or
// for a value of a table. Scales may be bytes that are scaled themselves.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_SCHEME_H
#define QUANTOPT_QUANTIZE_SCHEME_H

#include "quantopt/Quantize/CodeTable.h"
#include "quantopt/Quantize/NestedScales.h"

#include <string>
#include <vector>

namespace quantopt {

/// What stands beside the scale of a group.
enum class ZeroKind : uint8_t {
  Symmetric, ///< value = (q - 2^(bits-1)) * s; the scale may be negative
  Integer,   ///< value = (q - z) * s, z an unsigned code
  Minimum,   ///< value = q * s + m, m stored like the scale
};

/// Which weights share one scale.
enum class Granularity : uint8_t {
  Tensor,  ///< all of them
  Channel, ///< those of one row (one output channel)
  Group,   ///< `groupSize` neighbours in a row; the last group may be short
  Flat,    ///< `groupSize` neighbours of the flattened matrix, across rows;
           ///< the last group of all may be short
};

/// How a [n, k] = [out, in] weight is quantized.
struct Scheme {
  unsigned bits = 4; ///< 2 to 8
  Granularity granularity = Granularity::Group;
  int64_t groupSize = 64; ///< at least 1; used by Group and Flat only
  ZeroKind zero = ZeroKind::Integer;
  ScaleKind scaleType = ScaleKind::F16;
  /// With a table value = table[q] * s, and the scale may be negative where its
  /// type is signed; it takes 4 bits and ZeroKind::Symmetric.
  CodeTable table = CodeTable::Linear;
  /// With a table only. `scaleType` is F32 for Dynamic, the type of the second
  /// level; E4M3 for PerTensor, that of the bytes.
  Nesting nesting = Nesting::None;

  /// Largest code.
  int64_t maxCode() const { return (int64_t(1) << bits) - 1; }
  /// Weights per group along a row of `k`. Not for Flat.
  int64_t groupLength(int64_t k) const {
    return granularity == Granularity::Group && groupSize < k ? groupSize : k;
  }
  /// Groups per row of `k`. Not for Flat.
  int64_t numGroups(int64_t k) const {
    int64_t length = groupLength(k);
    return k == 0 ? 0 : (k + length - 1) / length;
  }
  /// Rows of the scale plane: n, or 1 when rows share scales.
  int64_t scaleRows(int64_t n) const {
    bool shared =
        granularity == Granularity::Tensor || granularity == Granularity::Flat;
    return shared ? 1 : n;
  }
  /// Columns of the scale plane.
  int64_t scaleColumns(int64_t n, int64_t k) const {
    return granularity == Granularity::Flat
               ? (n * k + groupSize - 1) / groupSize
               : numGroups(k);
  }
  int64_t numScales(int64_t n, int64_t k) const {
    return scaleRows(n) * scaleColumns(n, k);
  }
  /// Where the scale of weight (row, column) stands in its plane.
  int64_t scaleIndex(int64_t row, int64_t column, int64_t k) const;
  /// The first column behind `column` in this row that has another scale, or k.
  int64_t groupEnd(int64_t row, int64_t column, int64_t k) const;
  /// The same scheme; Flat where groups cross no border of rows of `k` becomes
  /// Group.
  Scheme forRows(int64_t k) const;

  /// Bits stored per weight of a [n, k] matrix, scales and zeros counted, as
  /// the planes are laid out (rows padded to whole bytes are not counted).
  double bitsPerWeight(int64_t n, int64_t k) const;
  /// Empty if the scheme can be used, else the rule that it breaks.
  std::string verify() const;

  bool operator==(const Scheme &) const = default;
};

/// A quantized [n, k] matrix, codes not packed yet.
struct QuantizedMatrix {
  Scheme scheme;
  int64_t n = 0, k = 0;
  std::vector<uint8_t> codes; ///< [n, k], one code a byte, unsigned
  std::vector<float> scales;  ///< [scaleRows, scaleColumns], as used: values
                              ///< that scaleType or nesting can store
  std::vector<float> offsets; ///< zero points or minima, shaped as scales;
                              ///< empty for Symmetric
  NestedScales nested = {};   ///< how `scales` are stored, if nested
};

/// Empty if `matrix` is well formed: a usable scheme, every vector of its size,
/// codes within `bits`, finite scales; else the rule that it breaks.
std::string verify(const QuantizedMatrix &matrix);

/// The first NaN or infinity of `values` [n, k] as "row R column C", else
/// empty.
std::string findNonFinite(std::span<const float> values, int64_t n, int64_t k);

/// The float values of `codes`, neighbours of one group with one `scale` and
/// one `offset` (ignored for Symmetric), into `out` of the same length. Each
/// operation is rounded (no fused multiply-add); everything that dequantizes
/// goes through this function, so all of it agrees bit for bit.
void dequantizeGroup(const Scheme &scheme, float scale, float offset,
                     std::span<const uint8_t> codes, float *out);

/// The float matrix that `matrix` stands for, into `out` [n, k] row-major.
/// Computed in f32 with each operation rounded (no fused multiply-add), so that
/// it equals the lowered IR bit for bit.
void dequantize(const QuantizedMatrix &matrix, std::span<float> out);

/// Rows [rowBegin, rowEnd) of the same, into `out` [rowEnd - rowBegin, k].
void dequantizeRows(const QuantizedMatrix &matrix, int64_t rowBegin,
                    int64_t rowEnd, std::span<float> out);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_SCHEME_H
