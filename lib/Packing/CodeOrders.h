//===- CodeOrders.h - The table of code orders ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One entry per CodeOrder. A new order is a new entry and nothing else.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PACKING_CODEORDERS_H
#define QUANTOPT_LIB_PACKING_CODEORDERS_H

#include "quantopt/Packing/PackedMatrix.h"

namespace quantopt {

struct CodeOrderEntry {
  const char *name;
  /// Bytes of the code plane of an [n, k] matrix.
  int64_t (*planeBytes)(int64_t n, int64_t k, unsigned bits);
  /// Codes [n, k], one a byte, into the whole plane.
  void (*pack)(const uint8_t *codes, int64_t n, int64_t k, unsigned bits,
               uint8_t *plane);
  /// `count` codes of row `row` from column `begin` on, `begin` being a
  /// multiple of kCodeAlignment.
  void (*unpack)(const uint8_t *plane, int64_t n, int64_t k, unsigned bits,
                 int64_t row, int64_t begin, int64_t count, uint8_t *codes);
};

/// Columns at which any order can start to unpack.
inline constexpr int64_t kCodeAlignment = 64;

const CodeOrderEntry &codeOrderEntry(CodeOrder order);

} // namespace quantopt

#endif // QUANTOPT_LIB_PACKING_CODEORDERS_H
