//===- Dense.h - Codes of a few bits in a row of bytes ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The plain order: code i of a row takes the bits [i*bits, (i+1)*bits) of the
// row, counted from the lowest bit of the first byte; each row starts on a
// byte.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PACKING_DENSE_H
#define QUANTOPT_PACKING_DENSE_H

#include <cstdint>
#include <span>
#include <vector>

namespace quantopt {

/// Bytes of a row of `k` codes.
inline int64_t denseRowBytes(int64_t k, unsigned bits) {
  return (k * bits + 7) / 8;
}

/// Packs `codes` [n, k], one a byte, into [n, denseRowBytes(k, bits)] bytes.
/// The spare bits of a row's last byte are 0. Bits above `bits` in a code are
/// dropped. 1 to 8 bits.
std::vector<uint8_t> packDense(std::span<const uint8_t> codes, int64_t n,
                               int64_t k, unsigned bits);

/// The inverse of packDense.
std::vector<uint8_t> unpackDense(std::span<const uint8_t> packed, int64_t n,
                                 int64_t k, unsigned bits);

/// One row: `k` codes into denseRowBytes(k, bits) bytes.
void packDenseRow(const uint8_t *codes, int64_t k, unsigned bits,
                  uint8_t *packed);

/// `count` codes of a packed row from code `begin` on; `begin` * `bits` must be
/// a multiple of 8.
void unpackDenseRow(const uint8_t *packed, int64_t begin, int64_t count,
                    unsigned bits, uint8_t *codes);

} // namespace quantopt

#endif // QUANTOPT_PACKING_DENSE_H
