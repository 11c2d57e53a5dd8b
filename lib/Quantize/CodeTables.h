//===- CodeTables.h - Tables in the order of their values -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The value of a table nearest to a number, as comparisons with the middles
// between neighbours.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_CODETABLES_H
#define QUANTOPT_LIB_QUANTIZE_CODETABLES_H

#include "Lanes.h"
#include "quantopt/Quantize/CodeTable.h"

namespace quantopt {

/// A table by rising value.
struct SortedTable {
  float values[16];
  int32_t codes[16]; ///< of each value
  /// Numbers above borders[i] belong to values[i + 1] or higher; one that
  /// equals it to values[i]. The middles in f32, as in bitsandbytes.
  float borders[15];

  float lowest() const { return values[0]; }
  float highest() const { return values[15]; }
  /// Whether a negative scale gives another set of values.
  bool isSkewed() const;
};

/// Null for CodeTable::Linear.
const SortedTable *sortedTable(CodeTable table);

/// The values nearest to `x`; a NaN gives the lowest.
QUANTOPT_INLINE void nearestValues(const FloatLanes &x,
                                   const SortedTable &table,
                                   FloatLanes &values) {
  values = table.values[0];
  for (int i = 0; i < 15; ++i) {
    FloatLanes next = table.values[i + 1];
    values = x > table.borders[i] ? next : values;
  }
}

/// Their codes.
QUANTOPT_INLINE void nearestCodes(const FloatLanes &x, const SortedTable &table,
                                  IntLanes &codes) {
  codes = table.codes[0];
  for (int i = 0; i < 15; ++i) {
    IntLanes next = table.codes[i + 1];
    codes = x > table.borders[i] ? next : codes;
  }
}

/// codes[i] = the code nearest to values[i] * inverse.
void chooseTableCodes(const SortedTable &table, float inverse,
                      std::span<const float> values, uint8_t *codes);

/// out[i] = the value of codes[i], times `scale`. Codes are below 16.
void dequantizeTable(CodeTable table, float scale,
                     std::span<const uint8_t> codes, float *out);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_CODETABLES_H
