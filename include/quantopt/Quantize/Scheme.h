//===- Scheme.h - What a quantized matrix is ----------------------*- C++
//-*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The affine scheme: integer codes of 2 to 8 bits, a scale per group, and
// either nothing, an integer zero point or a real minimum beside it.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_SCHEME_H
#define QUANTOPT_QUANTIZE_SCHEME_H

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quantopt {

/// The floating-point type that scales and minima are stored in.
enum class FloatKind : uint8_t { F16, BF16, F32 };

/// Bits of one value of `kind`.
unsigned bitWidth(FloatKind kind);

/// `value` rounded to nearest even in `kind` and widened again. Overflow
/// saturates to the largest finite value of `kind`: a scale is never infinite.
/// NaN stays NaN.
float roundTo(FloatKind kind, float value);

/// The bits of `roundTo(kind, value)` as `kind` stores them, in the low
/// bitWidth(kind) bits. An infinity saturates as in roundTo.
uint32_t encodeFloat(FloatKind kind, float value);

/// The value of the low bitWidth(kind) bits of `bits`, read as a `kind`.
float decodeFloat(FloatKind kind, uint32_t bits);

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
};

/// How a [n, k] = [out, in] weight is quantized.
struct Scheme {
  unsigned bits = 4; ///< 2 to 8
  Granularity granularity = Granularity::Group;
  int64_t groupSize = 64; ///< at least 1; used by Granularity::Group only
  ZeroKind zero = ZeroKind::Integer;
  FloatKind scaleType = FloatKind::F16;

  /// Largest code.
  int64_t maxCode() const { return (int64_t(1) << bits) - 1; }
  /// Weights per group along a row of `k`.
  int64_t groupLength(int64_t k) const {
    return granularity == Granularity::Group && groupSize < k ? groupSize : k;
  }
  /// Groups per row of `k`.
  int64_t numGroups(int64_t k) const {
    int64_t length = groupLength(k);
    return k == 0 ? 0 : (k + length - 1) / length;
  }
  /// Rows of the scale plane: n, or 1 when one scale serves all.
  int64_t scaleRows(int64_t n) const {
    return granularity == Granularity::Tensor ? 1 : n;
  }
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
  std::vector<float>
      scales; ///< [scaleRows(n), numGroups(k)], values of scaleType
  std::vector<float> offsets; ///< zero points or minima, shaped as scales;
                              ///< empty for Symmetric
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
