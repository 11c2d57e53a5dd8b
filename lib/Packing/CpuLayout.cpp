//===- CpuLayout.cpp - Planes in lines of a CPU's dot product -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Packs and unpacks by the formulas of LineOrder.h.
//
//===----------------------------------------------------------------------===//

#include "Layouts.h"

#include "quantopt/Packing/LineOrder.h"

#include <algorithm>

using namespace quantopt;
using namespace quantopt::line;

static void packLines(const uint8_t *codes, int64_t n, int64_t k, unsigned bits,
                      int64_t tile, uint8_t *plane) {
  const Pieces pieces(bits);
  int64_t rowBegin = tile * kBlockRows;
  int64_t rows = std::min(kBlockRows, n - rowBegin);
  uint8_t *block = plane + tile * rowTileBytes(k, bits);
  for (int64_t begin = 0; begin < k; begin += kBlockK) {
    int64_t count = std::min(kBlockK, k - begin);
    for (auto [width, shift, offset] : pieces) {
      uint8_t *piece = block + pieceOffset(shift);
      unsigned mask = (1u << width) - 1;
      for (int64_t row = 0; row < rows; ++row) {
        const uint8_t *from = codes + (rowBegin + row) * k + begin;
        for (int64_t i = 0; i < count; ++i) {
          Place<int64_t> place = placeOf(row, i, width);
          piece[place.byte] |= (from[i] >> shift & mask) << place.bit;
        }
      }
    }
    block += blockBytes(bits);
  }
}

static void unpackLines(const uint8_t *plane, int64_t k, unsigned bits,
                        int64_t row, int64_t begin, int64_t count,
                        uint8_t *codes) {
  const Pieces pieces(bits);
  const uint8_t *tile = plane + row / kBlockRows * rowTileBytes(k, bits);
  for (int64_t at = 0; at < count; ++at) {
    int64_t column = begin + at;
    const uint8_t *block = tile + column / kBlockK * blockBytes(bits);
    unsigned code = 0;
    for (auto [width, shift, offset] : pieces) {
      Place<int64_t> place = placeOf(row % kBlockRows, column % kBlockK, width);
      unsigned byte = block[pieceOffset(shift) + place.byte];
      code |= (byte >> place.bit & ((1u << width) - 1)) << shift;
    }
    codes[at] = static_cast<uint8_t>(code);
  }
}

/// Where the value of a row and a group stands.
static int64_t slotOf(int64_t index, int64_t groups) {
  int64_t row = index / groups, group = index % groups;
  return (row / kBlockRows * groups + group) * kBlockRows + row % kBlockRows;
}

static int64_t zeroBytes(int64_t rows, int64_t groups, unsigned) {
  return numScales(rows, groups);
}

static void packZeros(const uint8_t *zeros, int64_t rows, int64_t groups,
                      unsigned, uint8_t *plane) {
  for (int64_t index = 0; index < rows * groups; ++index)
    plane[slotOf(index, groups)] = zeros[index];
}

static uint8_t readZero(const uint8_t *plane, int64_t index, int64_t groups,
                        unsigned) {
  return plane[slotOf(index, groups)];
}

constexpr LayoutEntry quantopt::kCpuLayout = {
    "cpu",     /*isExpanded=*/true, codeBytes, kBlockRows,
    packLines, unpackLines,         numScales, slotOf,
    zeroBytes, packZeros,           readZero,
};
