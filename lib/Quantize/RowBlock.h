//===- RowBlock.h - Rows as columns -----------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows are independent of each other in GPTQ and in its refinements. A fixed
// number of them is copied so that each column is contiguous, in the order of
// the solve: work on a column is then a loop over vectors of rows, and what a
// thread touches stays in its cache.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_ROWBLOCK_H
#define QUANTOPT_LIB_QUANTIZE_ROWBLOCK_H

#include "CodeTables.h"
#include "quantopt/Quantize/Gptq.h"

namespace quantopt {

/// Rows of a block: fixed, as the results of a matrix product may depend on its
/// size, and small enough that a block of a few thousand columns stays in L2.
inline constexpr int64_t kRowBlock = 128;

/// Parameters of one group for all rows of a block, [kRowBlock] each. `offset`
/// is the middle code for Symmetric.
struct GroupRows {
  const float *scale, *inverse, *offset;
};

/// Everything a thread needs for a block of rows. `padded` rows are whole
/// vectors; the spare ones have scale 0 and value 0.
struct RowsAsColumns {
  int64_t first = 0, rows = 0, padded = 0;
  std::vector<float> columns;                   ///< [k, padded]
  std::vector<uint8_t> codes;                   ///< [k, padded]
  std::vector<float> scales, inverses, offsets; ///< [groups, kRowBlock]

  /// Starts on the rows of block `block` of n.
  void begin(int64_t block, int64_t n);
  /// Lays out the parameters of its rows by group.
  void loadGroups(const Scheme &scheme, std::span<const float> scalePlane,
                  std::span<const float> offsetPlane, int64_t k);
  /// The parameters of original column `column`.
  GroupRows groupOf(const Scheme &scheme, int64_t column, int64_t k) const;
  /// Copies its rows of `w` [n, k] into `to` [k, padded], in `order`.
  void gather(std::vector<float> &to, const float *w,
              std::span<const int64_t> order) const;
  void gather(std::vector<uint8_t> &to, const uint8_t *plane,
              std::span<const int64_t> order) const;
  /// Dequantizes its rows of `matrix` into `to` [k, padded], in `order`.
  void gatherValues(std::vector<float> &to, const QuantizedMatrix &matrix,
                    std::span<const int64_t> order) const;
  /// Copies `codes` back to its rows of `plane` [n, k].
  void scatterCodes(uint8_t *plane, std::span<const int64_t> order) const;
};

/// How codes become values.
enum class CodeKind : uint8_t { Zero, Minimum, Table };

/// What codes are, for a whole matrix.
struct CodeRange {
  explicit CodeRange(const Scheme &scheme)
      : largest(static_cast<float>(scheme.maxCode())),
        table(sortedTable(scheme.table)) {
    if (table)
      kind = CodeKind::Table;
    else if (scheme.zero == ZeroKind::Minimum)
      kind = CodeKind::Minimum;
  }

  CodeKind kind = CodeKind::Zero;
  float largest; ///< code
  const SortedTable *table;
};

/// The codes nearest to `target` as chooseCodes finds them, and their values.
template <CodeKind kind>
QUANTOPT_INLINE void
quantizeLanes(const FloatLanes &target, const GroupRows &group, int64_t row,
              const CodeRange &range, FloatLanes &value, uint8_t *codes) {
  FloatLanes scale, inverse, offset, code;
  load(scale, group.scale + row);
  load(inverse, group.inverse + row);
  if constexpr (kind == CodeKind::Table) {
    FloatLanes scaled = target * inverse;
    IntLanes nearest;
    nearestValues(scaled, *range.table, code);
    nearestCodes(scaled, *range.table, nearest);
    value = code * scale;
    ByteLanes bytes = __builtin_convertvector(nearest, ByteLanes);
    std::memcpy(codes, &bytes, sizeof(bytes));
    return;
  }
  load(offset, group.offset + row);
  if constexpr (kind == CodeKind::Minimum) {
    code = (target - offset) * inverse;
  } else {
    FloatLanes scaled = target * inverse;
    code = scaled + offset;
  }
  clampToCodes(code, range.largest);
  FloatLanes shifted = code + kRoundingOffset;
  code = shifted - kRoundingOffset;
  if constexpr (kind == CodeKind::Minimum) {
    FloatLanes product = code * scale;
    value = product + offset;
  } else {
    value = (code - offset) * scale;
  }
  IntLanes bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  ByteLanes bytes = __builtin_convertvector(bits & 255, ByteLanes);
  std::memcpy(codes, &bytes, sizeof(bytes));
}

/// target[j] += sign * source * factors[j] for columns j of [begin, end), each
/// `rows` long. Columns are contiguous from `columns` on.
template <int sign>
QUANTOPT_INLINE void spreadColumn(float *columns, int64_t rows,
                                  const float *source, const float *factors,
                                  int64_t begin, int64_t end) {
  for (int64_t j = begin; j < end; ++j) {
    float *target = columns + j * rows;
    float factor = sign * factors[j];
    for (int64_t row = 0; row < rows; row += kLanes) {
      FloatLanes t, s;
      load(t, target + row);
      load(s, source + row);
      FloatLanes moved = s * factor;
      store(target + row, t + moved);
    }
  }
}

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_ROWBLOCK_H
