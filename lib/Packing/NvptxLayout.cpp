//===- NvptxLayout.cpp - Planes in tensor-core order ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Packs and unpacks by the formulas of FragmentOrder.h. Both work on pairs of
// codes as they stand in a word: the elements 16 bits apart.
//
//===----------------------------------------------------------------------===//

#include "Layouts.h"

#include "quantopt/Packing/FragmentOrder.h"

#include <algorithm>

using namespace quantopt;
using namespace quantopt::fragment;

/// The low `width` bits of both halves of a word.
static constexpr uint32_t pairMask(unsigned width) {
  return ((1u << width) - 1) * 0x10001u;
}

static void storeWord(uint32_t word, uint8_t *to) {
  for (int i = 0; i < 4; ++i)
    to[i] = static_cast<uint8_t>(word >> (8 * i));
}

static uint32_t loadWord(const uint8_t *from) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i)
    word |= uint32_t(from[i]) << (8 * i);
  return word;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// The codes [16, 64] of a block into its bytes.
static void packBlock(const uint8_t *codes, const Pieces &pieces,
                      uint8_t *block) {
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    uint32_t pairs[kPairs];
    for (int64_t pair = 0; pair < kPairs; ++pair) {
      const uint8_t *two =
          codes + rowOf(lane, pair) * kBlockK + kOf(lane, pair, 0);
      pairs[pair] = two[0] | uint32_t(two[1]) << 16;
    }
    for (auto [width, shift, offset] : pieces) {
      uint32_t words[8] = {};
      for (int64_t pair = 0; pair < kPairs; ++pair)
        words[wordOf(pair, width)] |= (pairs[pair] >> shift & pairMask(width))
                                      << bitOf(pair, 0, width);
      for (int64_t word = 0; word < width; ++word)
        storeWord(words[word], block + offset + wordByte(lane, word, width));
    }
  }
}

static void packFragments(const uint8_t *codes, int64_t n, int64_t k,
                          unsigned bits, int64_t tile, uint8_t *plane) {
  const Pieces pieces(bits);
  int64_t rowBegin = tile * kBlockRows;
  int64_t rows = std::min(kBlockRows, n - rowBegin);
  uint8_t *target = plane + tile * rowTileBytes(k, bits);
  for (int64_t begin = 0; begin < k; begin += kBlockK) {
    int64_t count = std::min(kBlockK, k - begin);
    uint8_t block[kBlockRows * kBlockK] = {};
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(codes + (rowBegin + row) * k + begin, count,
                  block + row * kBlockK);
    packBlock(block, pieces, target);
    target += blockBytes(bits);
  }
}

/// Row `row` (0 to 15) of a block.
static void unpackBlockRow(const uint8_t *block, const Pieces &pieces,
                           int64_t row, uint8_t *codes) {
  for (int64_t k = 0; k < kBlockK; k += 2) {
    auto [lane, pair, element] = elementOf(row, k);
    uint32_t both = 0;
    for (auto [width, shift, offset] : pieces) {
      uint32_t word =
          loadWord(block + offset + wordByte(lane, wordOf(pair, width), width));
      both |= (word >> bitOf(pair, 0, width) & pairMask(width)) << shift;
    }
    codes[k] = static_cast<uint8_t>(both);
    codes[k + 1] = static_cast<uint8_t>(both >> 16);
  }
}

static void unpackFragments(const uint8_t *plane, int64_t k, unsigned bits,
                            int64_t row, int64_t begin, int64_t count,
                            uint8_t *codes) {
  const Pieces pieces(bits);
  const uint8_t *block = plane + row / kBlockRows * rowTileBytes(k, bits) +
                         begin / kBlockK * blockBytes(bits);
  for (int64_t at = 0; at < count; at += kBlockK) {
    uint8_t whole[kBlockK];
    unpackBlockRow(block, pieces, row % kBlockRows, whole);
    std::copy_n(whole, std::min(kBlockK, count - at), codes + at);
    block += blockBytes(bits);
  }
}

//===----------------------------------------------------------------------===//
// Scales and zeros
//===----------------------------------------------------------------------===//

/// Where the values of 16 rows and one group begin, in multiples of them.
static int64_t groupTile(int64_t row, int64_t group, int64_t groups) {
  return row / kBlockRows * groups + group;
}

static int64_t fragmentSlot(int64_t index, int64_t groups) {
  int64_t row = index / groups;
  return groupTile(row, index % groups, groups) * kBlockRows +
         rowSlot(row % kBlockRows);
}

/// Byte and bit of a zero.
static ZeroPlace<int64_t> zeroPlace(int64_t index, int64_t groups,
                                    unsigned bits) {
  int64_t row = index / groups, tile = groupTile(row, index % groups, groups);
  auto [byte, bit] = zeroPlaceOf(row % kBlockRows, bits);
  return {tile * zeroBytes(bits) + byte, bit};
}

static int64_t fragmentZeroBytes(int64_t rows, int64_t groups, unsigned bits) {
  return rowTiles(rows) * groups * zeroBytes(bits);
}

static void packFragmentZeros(const uint8_t *zeros, int64_t rows,
                              int64_t groups, unsigned bits, uint8_t *plane) {
  for (int64_t index = 0; index < rows * groups; ++index) {
    auto [byte, bit] = zeroPlace(index, groups, bits);
    plane[byte] |= zeros[index] << bit;
  }
}

static uint8_t readFragmentZero(const uint8_t *plane, int64_t index,
                                int64_t groups, unsigned bits) {
  auto [byte, bit] = zeroPlace(index, groups, bits);
  return plane[byte] >> bit & ((1u << bits) - 1);
}

constexpr LayoutEntry quantopt::kNvptxLayout = {
    "nvptx",           /*isExpanded=*/true, codeBytes,        kBlockRows,
    packFragments,     unpackFragments,     numScales,        fragmentSlot,
    fragmentZeroBytes, packFragmentZeros,   readFragmentZero,
};
