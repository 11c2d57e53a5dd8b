//===- Dense.cpp - Codes of a few bits in a row of bytes ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Eight codes of b bits are b whole bytes: the loops work on such octets,
// through one 64-bit word, with vectors for the widths that divide a byte.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Packing/Dense.h"

#include "../Quantize/Lanes.h"

#include <algorithm>

using namespace quantopt;

static constexpr int64_t kOctet = 8;

/// Up to eight codes into the low bits of a word.
static uint64_t gatherOctet(const uint8_t *codes, int64_t count,
                            unsigned bits) {
  uint64_t mask = (uint64_t(1) << bits) - 1, word = 0;
  for (int64_t i = 0; i < count; ++i)
    word |= (codes[i] & mask) << (i * bits);
  return word;
}

static void scatterOctet(uint64_t word, int64_t count, unsigned bits,
                         uint8_t *codes) {
  uint64_t mask = (uint64_t(1) << bits) - 1;
  for (int64_t i = 0; i < count; ++i)
    codes[i] = (word >> (i * bits)) & mask;
}

// Words go to and from bytes one by one rather than by memcpy: the format is
// little-endian whatever the host is.

static void storeWord(uint64_t word, int64_t bytes, uint8_t *to) {
  for (int64_t i = 0; i < bytes; ++i)
    to[i] = static_cast<uint8_t>(word >> (8 * i));
}

static uint64_t loadWord(const uint8_t *from, int64_t bytes) {
  uint64_t word = 0;
  for (int64_t i = 0; i < bytes; ++i)
    word |= uint64_t(from[i]) << (8 * i);
  return word;
}

template <unsigned bits>
static void packRow(const uint8_t *codes, int64_t k, uint8_t *packed) {
  int64_t whole = k / kOctet, rest = k % kOctet;
  for (int64_t i = 0; i < whole; ++i)
    storeWord(gatherOctet(codes + i * kOctet, kOctet, bits), bits,
              packed + i * bits);
  if (rest)
    storeWord(gatherOctet(codes + whole * kOctet, rest, bits),
              denseRowBytes(rest, bits), packed + whole * bits);
}

template <unsigned bits>
static void unpackRow(const uint8_t *packed, int64_t count, uint8_t *codes) {
  int64_t whole = count / kOctet, rest = count % kOctet;
  for (int64_t i = 0; i < whole; ++i)
    scatterOctet(loadWord(packed + i * bits, bits), kOctet, bits,
                 codes + i * kOctet);
  if (rest)
    scatterOctet(loadWord(packed + whole * bits, denseRowBytes(rest, bits)),
                 rest, bits, codes + whole * kOctet);
}

/// The 4-bit case by vectors: low and high halves of 16 bytes, interleaved.
QUANTOPT_CLONES static void unpackNibbles(const uint8_t *packed, int64_t count,
                                          uint8_t *codes) {
  using Bytes32 = uint8_t __attribute__((ext_vector_type(32)));
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    ByteLanes bytes;
    std::memcpy(&bytes, packed + i / 2, sizeof(bytes));
    ByteLanes low = bytes & 15, high = bytes >> 4;
    Bytes32 both = __builtin_shufflevector(
        low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8,
        24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    std::memcpy(codes + i, &both, sizeof(both));
  }
  for (; i < count; ++i)
    codes[i] = (packed[i / 2] >> (i % 2 * 4)) & 15;
}

using PackFunction = void (*)(const uint8_t *, int64_t, uint8_t *);

static constexpr PackFunction kPack[] = {nullptr,    packRow<1>, packRow<2>,
                                         packRow<3>, packRow<4>, packRow<5>,
                                         packRow<6>, packRow<7>, packRow<8>};
static constexpr PackFunction kUnpack[] = {
    nullptr,      unpackRow<1>, unpackRow<2>, unpackRow<3>, unpackNibbles,
    unpackRow<5>, unpackRow<6>, unpackRow<7>, unpackRow<8>};

void quantopt::packDenseRow(const uint8_t *codes, int64_t k, unsigned bits,
                            uint8_t *packed) {
  kPack[bits](codes, k, packed);
}

void quantopt::unpackDenseRow(const uint8_t *packed, int64_t begin,
                              int64_t count, unsigned bits, uint8_t *codes) {
  kUnpack[bits](packed + begin * bits / 8, count, codes);
}

std::vector<uint8_t> quantopt::packDense(std::span<const uint8_t> codes,
                                         int64_t n, int64_t k, unsigned bits) {
  int64_t bytes = denseRowBytes(k, bits);
  std::vector<uint8_t> packed(n * bytes);
  for (int64_t row = 0; row < n; ++row)
    packDenseRow(codes.data() + row * k, k, bits, packed.data() + row * bytes);
  return packed;
}

std::vector<uint8_t> quantopt::unpackDense(std::span<const uint8_t> packed,
                                           int64_t n, int64_t k,
                                           unsigned bits) {
  int64_t bytes = denseRowBytes(k, bits);
  std::vector<uint8_t> codes(n * k);
  for (int64_t row = 0; row < n; ++row)
    unpackDenseRow(packed.data() + row * bytes, 0, k, bits,
                   codes.data() + row * k);
  return codes;
}
