//===- Layouts.h - The table of layouts -------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One entry per Layout. A new layout is a new entry and nothing else.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PACKING_LAYOUTS_H
#define QUANTOPT_LIB_PACKING_LAYOUTS_H

#include "quantopt/Packing/PackedMatrix.h"

namespace quantopt {

struct LayoutEntry {
  const char *name;
  /// Whether only schemes from expandedScheme are held.
  bool isExpanded;

  /// Bytes of the code plane of an [n, k] matrix.
  int64_t (*codeBytes)(int64_t n, int64_t k, unsigned bits);
  /// Rows that are packed together.
  int64_t tileRows;
  /// Tile `tile` of the codes [n, k], one a byte, into the plane, which is 0.
  void (*packCodes)(const uint8_t *codes, int64_t n, int64_t k, unsigned bits,
                    int64_t tile, uint8_t *plane);
  /// `count` codes of row `row` from column `begin` on, `begin` being a
  /// multiple of kCodeAlignment.
  void (*unpackCodes)(const uint8_t *plane, int64_t k, unsigned bits,
                      int64_t row, int64_t begin, int64_t count,
                      uint8_t *codes);

  /// Places in the plane of scales (and minima) that are [rows, columns].
  int64_t (*scaleSlots)(int64_t rows, int64_t columns);
  /// The place of scale `index`, counted row by row.
  int64_t (*scaleSlot)(int64_t index, int64_t columns);

  /// Bytes of the zero points that belong to scales of [rows, columns].
  int64_t (*zeroBytes)(int64_t rows, int64_t columns, unsigned bits);
  /// Zeros [rows, columns] into the plane, which is 0.
  void (*packZeros)(const uint8_t *zeros, int64_t rows, int64_t columns,
                    unsigned bits, uint8_t *plane);
  /// The zero at `index`, counted row by row.
  uint8_t (*readZero)(const uint8_t *plane, int64_t index, int64_t columns,
                      unsigned bits);
};

/// Columns at which any layout can start to unpack.
inline constexpr int64_t kCodeAlignment = 64;

const LayoutEntry &layoutEntry(Layout layout);

/// The entries of Layout::Nvptx and Layout::Cpu.
extern const LayoutEntry kNvptxLayout, kCpuLayout;

} // namespace quantopt

#endif // QUANTOPT_LIB_PACKING_LAYOUTS_H
