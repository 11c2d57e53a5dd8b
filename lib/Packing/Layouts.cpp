//===- Layouts.cpp - The table of layouts ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The table, and the entry of the dense layout.
//
//===----------------------------------------------------------------------===//

#include "Layouts.h"

#include "quantopt/Packing/Dense.h"
#include "quantopt/Packing/ExpandedScales.h"

using namespace quantopt;

//===----------------------------------------------------------------------===//
// Dense
//===----------------------------------------------------------------------===//

static int64_t densePlaneBytes(int64_t rows, int64_t columns, unsigned bits) {
  return rows * denseRowBytes(columns, bits);
}

static void packDenseCodes(const uint8_t *codes, int64_t n, int64_t k,
                           unsigned bits, int64_t row, uint8_t *plane) {
  packDenseRow(codes + row * k, k, bits, plane + row * denseRowBytes(k, bits));
}

static void unpackDenseCodes(const uint8_t *plane, int64_t k, unsigned bits,
                             int64_t row, int64_t begin, int64_t count,
                             uint8_t *codes) {
  unpackDenseRow(plane + row * denseRowBytes(k, bits), begin, count, bits,
                 codes);
}

static int64_t denseSlots(int64_t rows, int64_t columns) {
  return rows * columns;
}

static int64_t denseSlot(int64_t index, int64_t columns) { return index; }

static void packDenseZeros(const uint8_t *zeros, int64_t rows, int64_t columns,
                           unsigned bits, uint8_t *plane) {
  for (int64_t row = 0; row < rows; ++row)
    packDenseRow(zeros + row * columns, columns, bits,
                 plane + row * denseRowBytes(columns, bits));
}

static uint8_t readDenseZero(const uint8_t *plane, int64_t index,
                             int64_t columns, unsigned bits) {
  int64_t rowBytes = denseRowBytes(columns, bits);
  const uint8_t *row = plane + index / columns * rowBytes;
  int64_t bit = index % columns * bits, byte = bit / 8;
  unsigned word = row[byte];
  if (byte + 1 < rowBytes)
    word |= unsigned(row[byte + 1]) << 8;
  return (word >> (bit % 8)) & ((1u << bits) - 1);
}

static constexpr LayoutEntry kDenseLayout = {
    "dense",         /*isExpanded=*/false, densePlaneBytes, /*tileRows=*/1,
    packDenseCodes,  unpackDenseCodes,     denseSlots,      denseSlot,
    densePlaneBytes, packDenseZeros,       readDenseZero,
};

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static constexpr const LayoutEntry *kLayouts[] = {&kDenseLayout, &kNvptxLayout,
                                                  &kCpuLayout};

const LayoutEntry &quantopt::layoutEntry(Layout layout) {
  return *kLayouts[static_cast<unsigned>(layout)];
}

const char *quantopt::layoutName(Layout layout) {
  return layoutEntry(layout).name;
}

std::optional<Layout> quantopt::layoutNamed(std::string_view name) {
  for (unsigned i = 0; i < std::size(kLayouts); ++i)
    if (name == kLayouts[i]->name)
      return static_cast<Layout>(i);
  return std::nullopt;
}

std::optional<Scheme> quantopt::schemeIn(Layout layout, const Scheme &scheme,
                                         int64_t n, int64_t k) {
  if (layoutEntry(layout).isExpanded)
    return expandedScheme(scheme, n, k);
  return scheme;
}
