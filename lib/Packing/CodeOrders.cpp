//===- CodeOrders.cpp - The table of code orders --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// See CodeOrders.h.
//
//===----------------------------------------------------------------------===//

#include "CodeOrders.h"

#include "quantopt/Packing/Dense.h"

using namespace quantopt;

static int64_t densePlaneBytes(int64_t n, int64_t k, unsigned bits) {
  return n * denseRowBytes(k, bits);
}

static void packDensePlane(const uint8_t *codes, int64_t n, int64_t k,
                           unsigned bits, uint8_t *plane) {
  int64_t bytes = denseRowBytes(k, bits);
  for (int64_t row = 0; row < n; ++row)
    packDenseRow(codes + row * k, k, bits, plane + row * bytes);
}

static void unpackDensePlane(const uint8_t *plane, int64_t n, int64_t k,
                             unsigned bits, int64_t row, int64_t begin,
                             int64_t count, uint8_t *codes) {
  unpackDenseRow(plane + row * denseRowBytes(k, bits), begin, count, bits,
                 codes);
}

static constexpr CodeOrderEntry kOrders[] = {
    {"dense", densePlaneBytes, packDensePlane, unpackDensePlane},
};

const CodeOrderEntry &quantopt::codeOrderEntry(CodeOrder order) {
  return kOrders[static_cast<unsigned>(order)];
}

const char *quantopt::codeOrderName(CodeOrder order) {
  return codeOrderEntry(order).name;
}
