//===- FragmentOrder.h - Planes in tensor-core order ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where each value of a packed matrix lies, so that a warp loads the A operand
// of mma.m16n8k16 with wide coalesced loads and no shuffles.
// The same registers are a warp's slice of the register A operand of
// wgmma.m64k16, so one buffer serves all kernels.
//
// A block is 16 rows x 64 k, that is four mma steps. N is padded to whole
// blocks and K too, with zeros. Codes: [N/16][K/64] blocks. In a block the bits
// of a code are split into pieces of 4, 2 and 1 bit (8 is one piece), low bits
// in the first; the pieces of a block follow each other.
//
// Lane l of a warp (g = l / 4, t = l % 4) owns rows g and g + 8 of a block and
// k from 16 t to 16 t + 15: 16 pairs of neighbours in k, one for each of the
// four A registers of each of the four steps. Bits of a pair's two elements
// stand 16 apart in a word, as the halves of a register do.
//
// So position kk of step j does not stand for k = 16 j + kk. Since a product
// sums over k, it is enough that activations are read in the same order:
// see position().
//
// Scales and minima: [N/16][groups][16], zeros: [N/16][groups][8 or 16] bytes.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PACKING_FRAGMENTORDER_H
#define QUANTOPT_PACKING_FRAGMENTORDER_H

#include <array>
#include <cstdint>
#include <type_traits>

namespace quantopt::fragment {

inline constexpr int64_t kBlockRows = 16;
inline constexpr int64_t kBlockK = 64;
inline constexpr int64_t kLanes = 32;
/// mma steps of a block, and registers of an A operand.
inline constexpr int64_t kSteps = 4, kRegisters = 4;
/// Pairs that a lane owns in a block: pair 4 * step + register.
inline constexpr int64_t kPairs = kSteps * kRegisters;

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
/// Blocks that cover n rows, or k columns.
constexpr int64_t rowTiles(int64_t n) { return ceilDiv(n, kBlockRows); }
constexpr int64_t columnBlocks(int64_t k) { return ceilDiv(k, kBlockK); }

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// Some neighbouring bits of every code of a block.
struct Piece {
  unsigned width; ///< 1, 2, 4 or 8
  unsigned shift; ///< of its lowest bit in the code
  int64_t offset; ///< bytes from the begin of the block
};

/// Bytes of a piece: of each lane 32 codes, `width` bits each.
constexpr int64_t pieceBytes(unsigned width) { return 4 * kLanes * width; }

/// The pieces of codes of 1 to 8 bits, in the order in which they are stored.
struct Pieces {
  unsigned count = 0;
  std::array<Piece, 3> piece = {};

  constexpr explicit Pieces(unsigned bits) {
    unsigned shift = 0;
    for (unsigned width = 8; width != 0; width /= 2)
      if (bits & width) {
        piece[count++] = {width, shift, pieceBytes(1) * shift};
        shift += width;
      }
  }
  constexpr const Piece *begin() const { return piece.data(); }
  constexpr const Piece *end() const { return piece.data() + count; }
};

/// Bytes of a block, of all the blocks of 16 rows, of the plane.
constexpr int64_t blockBytes(unsigned bits) { return pieceBytes(1) * bits; }
constexpr int64_t rowTileBytes(int64_t k, unsigned bits) {
  return columnBlocks(k) * blockBytes(bits);
}
constexpr int64_t codeBytes(int64_t n, int64_t k, unsigned bits) {
  return rowTiles(n) * rowTileBytes(k, bits);
}

/// Element 0 or 1 of one pair of a lane. Here and below `Int` is int64_t, or
/// emits code that computes the same.
template <typename Int> struct Element {
  Int lane, pair, element;
  bool operator==(const Element &) const = default;
};

/// Who owns the code of `row` (0 to 15) and `k` (0 to 63) of a block.
template <typename Int> constexpr Element<Int> elementOf(Int row, Int k) {
  Int reg = row / 8 + k % 4 / 2 * 2, step = k % 16 / 4;
  return {row % 8 * 4 + k / 16, step * kRegisters + reg, k % 2};
}

/// Row and k in its block of what elementOf finds.
constexpr int64_t rowOf(int64_t lane, int64_t pair) {
  return lane / 4 + 8 * (pair % 2);
}
constexpr int64_t kOf(int64_t lane, int64_t pair, int64_t element) {
  return 16 * (lane % 4) + 4 * (pair / 4) + 2 * (pair % 4 / 2) + element;
}

/// A little-endian 32-bit word of a lane holds 16 / width pairs: which of the
/// lane's words a pair is in, and at which bit an element of it begins.
template <typename Int> constexpr Int wordOf(Int pair, int64_t width) {
  return pair / (16 / width);
}
template <typename Int>
constexpr Int bitOf(Int pair, std::type_identity_t<Int> element,
                    int64_t width) {
  return pair % (16 / width) * width + element * 16;
}

/// Bytes from the begin of a piece to a lane's word (of `width`): the lane's
/// words follow each other, except that loads are of at most 16 bytes.
template <typename Int>
constexpr Int wordByte(Int lane, std::type_identity_t<Int> word,
                       int64_t width) {
  int64_t together = width < 4 ? width : 4;
  return (word / together * (kLanes * together) + lane * together +
          word % together) *
         4;
}

/// Where column k (0 to 63) of a block stands in the order in which the steps
/// take it: 16 * step + kk, kk being its position in the step's k16.
constexpr int64_t position(int64_t k) {
  return 16 * (k % 16 / 4) + 2 * (k / 16) + 8 * (k % 4 / 2) + k % 2;
}

//===----------------------------------------------------------------------===//
// Scales, minima, zeros: those of 16 rows and one group lie together, the
// groups of the 16 rows follow each other.
//===----------------------------------------------------------------------===//

/// Where a row (0 to 15) stands among 16 scales, minima, or zeros of a byte:
/// the two that a lane needs are neighbours.
template <typename Int> constexpr Int rowSlot(Int row) {
  return row % 8 * 2 + row / 8;
}

/// Scales, or minima, of a plane with `groups` in a row.
constexpr int64_t numScales(int64_t n, int64_t groups) {
  return rowTiles(n) * groups * kBlockRows;
}

/// Bytes of 16 integer zeros. Up to 4 bits, byte g holds that of row g in its
/// low half and that of row g + 8 in its high half; else a byte at rowSlot.
constexpr int64_t zeroBytes(unsigned bits) { return bits <= 4 ? 8 : 16; }

/// Where the zero of a row (0 to 15) stands in them.
template <typename Int> struct ZeroPlace {
  Int byte, bit;
};
template <typename Int>
constexpr ZeroPlace<Int> zeroPlaceOf(Int row, unsigned bits) {
  if (bits <= 4)
    return {row % 8, row / 8 * 4};
  return {rowSlot(row), row * 0};
}

} // namespace quantopt::fragment

#endif // QUANTOPT_PACKING_FRAGMENTORDER_H
