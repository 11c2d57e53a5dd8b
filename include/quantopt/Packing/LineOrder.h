//===- LineOrder.h - Planes in lines of a CPU's dot product -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where each value of a packed matrix lies, so that one cache line feeds one
// register of sums: a line has 16 lanes of 4 bytes, one lane for each of 16
// rows of W, and an instruction that multiplies 4 bytes with 4 activations and
// adds them up in each lane (vpdpbusd and its like) takes 4 neighbours in k. A
// register of 32 or 16 bytes is a part of a line.
//
// A block is 16 rows x 32 k; N is padded to whole blocks and K too, with
// zeros. Codes: [N/16][K/32] blocks, their bits split into the pieces of
// FragmentOrder.h. A piece of width w is w lines of 32/w k each: byte j of lane
// n holds, from its low bits up, k = j, 4 + j, 8 + j, ... of row n. So the
// codes of 4 neighbours in k are a shift and a mask of the whole line.
//
// Scales, minima and zeros (bytes): [N/16][groups][16].
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PACKING_LINEORDER_H
#define QUANTOPT_PACKING_LINEORDER_H

#include "quantopt/Packing/FragmentOrder.h"

namespace quantopt::line {

using fragment::ceilDiv;
using fragment::Pieces;

inline constexpr int64_t kBlockRows = 16;
inline constexpr int64_t kBlockK = 32;
inline constexpr int64_t kLineBytes = 64;
/// Neighbours in k that one lane multiplies at a time.
inline constexpr int64_t kDot = 4;

/// Blocks that cover n rows, or k columns.
constexpr int64_t rowTiles(int64_t n) { return ceilDiv(n, kBlockRows); }
constexpr int64_t columnBlocks(int64_t k) { return ceilDiv(k, kBlockK); }

/// Bytes of a block, of all the blocks of 16 rows, of the plane.
constexpr int64_t blockBytes(unsigned bits) { return kLineBytes * bits; }
constexpr int64_t rowTileBytes(int64_t k, unsigned bits) {
  return columnBlocks(k) * blockBytes(bits);
}
constexpr int64_t codeBytes(int64_t n, int64_t k, unsigned bits) {
  return rowTiles(n) * rowTileBytes(k, bits);
}

/// Bytes from the begin of a block to a piece: pieces before it have a line for
/// each of their bits.
constexpr int64_t pieceOffset(unsigned shift) { return kLineBytes * shift; }

/// Where row (0 to 15) and k (0 to 31) of a block lie in a piece of `width`.
/// `Int` is int64_t, or emits code that computes the same.
template <typename Int> struct Place {
  Int byte; ///< from the begin of the piece
  Int bit;
};
template <typename Int>
constexpr Place<Int> placeOf(Int row, Int k, int64_t width) {
  int64_t perLine = kBlockK / width;
  return {k / perLine * kLineBytes + row * kDot + k % kDot,
          k % perLine / kDot * width};
}

/// Scales, minima or zeros of a plane with `groups` in a row.
constexpr int64_t numScales(int64_t n, int64_t groups) {
  return rowTiles(n) * groups * kBlockRows;
}

} // namespace quantopt::line

#endif // QUANTOPT_PACKING_LINEORDER_H
