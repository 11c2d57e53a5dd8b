//===- TensorCores.cpp - mma.sync and its loads and stores ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fragments, as the figures of PTX ISA 9.7.14 show them: lane 4g + t holds rows
// g and g + 8, and neighbouring columns from t on.
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"
#include "MatrixMath.h"

#include <algorithm>
#include <cstring>

using namespace quantopt::ptx;

namespace {

constexpr Type kB32{Type::Bits, 32};

// mode: k, registers of A, registers of B, f16 sums. list: d, a, b, c.

/// The element of a fragment register as a number.
float elementOf(Type type, uint32_t word, unsigned i) {
  if (type.kind == Type::TF32) // the low bits are not looked at
    return std::bit_cast<float>(word & 0xffffe000);
  if (type.bits == 16)
    return type.kind == Type::BFloat ? bfloatToFloat(word >> 16 * i)
                                     : halfToFloat(word >> 16 * i);
  return static_cast<float>(decodeFloat(
      word >> 8 * i & 0xff, type.kind == Type::E4M3 ? kE4M3 : kE5M2));
}
int32_t integerOf(Type type, uint32_t word, unsigned i) {
  uint8_t byte = word >> 8 * i;
  return type.isSigned() ? int8_t(byte) : byte;
}

template <typename T> T readElement(Type type, uint32_t word, unsigned i) {
  if constexpr (std::is_same_v<T, float>)
    return elementOf(type, word, i);
  else
    return integerOf(type, word, i);
}

template <typename T>
void gather(Warp &warp, const Instr &instr, const Ref *a, const Ref *b,
            T *matrixA, T *matrixB) {
  unsigned k = instr.mode[0], perWord = 32 / instr.from.bits;
  unsigned registersA = instr.mode[1], registersB = instr.mode[2];
  Type typeB = {static_cast<Type::Kind>(instr.width), instr.from.bits};
  for (unsigned r = 0; r < registersA; ++r) {
    const uint32_t *words = warp.read<uint32_t>(a[r]);
    for (unsigned lane = 0; lane < kWarp; ++lane)
      for (unsigned i = 0; i < perWord; ++i) {
        unsigned row = lane / 4 + 8 * (r & 1);
        unsigned column = perWord * (lane % 4) + i + 4 * perWord * (r >> 1);
        matrixA[row * k + column] = readElement<T>(instr.from, words[lane], i);
      }
  }
  for (unsigned r = 0; r < registersB; ++r) {
    const uint32_t *words = warp.read<uint32_t>(b[r]);
    for (unsigned lane = 0; lane < kWarp; ++lane)
      for (unsigned i = 0; i < perWord; ++i) {
        unsigned row = perWord * (lane % 4) + i + 4 * perWord * r;
        matrixB[row * 8 + lane / 4] = readElement<T>(typeB, words[lane], i);
      }
  }
}

template <typename T>
void runMma(Warp &warp, const Instr &instr, uint32_t mask) {
  const Ref *refs = warp.program.lists.data() + instr.list;
  bool halfSums = instr.mode[3] & 1, halfC = instr.mode[3] & 2;
  unsigned sums = halfSums ? 2 : 4, sumsC = halfC ? 2 : 4;
  const Ref *a = refs + sums, *b = a + instr.mode[1], *c = b + instr.mode[2];
  bool good = true;
  for (const Ref *ref = a; ref != c + sumsC; ++ref)
    good &= warp.isDefined(*ref) == ~0u;
  T matrixA[16 * 32], matrixB[32 * 8], matrixC[16 * 8];
  gather(warp, instr, a, b, matrixA, matrixB);
  auto forSums = [&](auto function) {
    for (unsigned i = 0; i < 4; ++i)
      for (unsigned lane = 0; lane < kWarp; ++lane)
        function(
            i, lane,
            matrixC[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2]);
  };
  forSums([&](unsigned i, unsigned lane, T &sum) {
    if (halfC)
      sum = T(halfToFloat(warp.read<uint32_t>(c[i / 2])[lane] >> 16 * (i % 2)));
    else
      sum = std::bit_cast<T>(warp.read<uint32_t>(c[i])[lane]);
  });
  multiplyAdd(matrixA, matrixB, matrixC, 8, instr.mode[0]);
  forSums([&](unsigned i, unsigned lane, T &sum) {
    uint32_t bits = good ? std::bit_cast<uint32_t>(sum) : ~0u;
    if (!halfSums) {
      warp.write<uint32_t>(refs[i])[lane] = bits;
      return;
    }
    uint32_t half = good ? floatToHalf(static_cast<float>(sum)) : 0xffff;
    uint32_t &word = warp.write<uint32_t>(refs[i / 2])[lane];
    word = i % 2 ? (word & 0xffff) | half << 16 : half;
  });
  for (unsigned i = 0; i < sums; ++i)
    warp.define(refs[i], mask, good ? ~0u : 0);
}

void decodeMma(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("sync") || !d.take("aligned"))
    return d.fail("this form");
  static constexpr unsigned depths[] = {4, 8, 16, 32};
  int shape = d.takeOneOf({"m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"});
  if (shape < 0 || !d.take("row") || !d.take("col"))
    return d.fail("this shape");
  Type result = d.takeType();
  instr.from = d.takeType();
  Type typeB = d.takeType(), typeC = d.takeType();
  if (d.failed() || !d.expect(4))
    return;
  unsigned k = depths[shape], bits = instr.from.bits;
  bool isInteger = instr.from.isInteger();
  bool narrow = instr.from.kind == Type::E4M3 || instr.from.kind == Type::E5M2;
  // Words of A are 8 rows of 4 lanes; half as many of B.
  unsigned words = 16 * k / (kWarp * 32 / bits);
  auto isSum = [](Type type) {
    return type == Type{Type::Float, 32} || type == Type{Type::Float, 16};
  };
  bool fits = typeB.bits == bits && instr.from.packed == 1;
  if (isInteger)
    fits &= bits == 8 && typeB.isInteger() && (k == 16 || k == 32) &&
            result == Type{Type::Signed, 32} && typeC == result;
  else
    fits &= isSum(result) && isSum(typeC) &&
            (narrow ? k == 32 && !typeB.isInteger() : typeB == instr.from) &&
            (bits != 16 || k == 8 || k == 16) &&
            (bits != 32 || k == 4 || k == 8) &&
            (instr.from == Type{Type::Float, 16} ||
             (result.bits == 32 && typeC.bits == 32));
  if (!fits || (bits == 32 && instr.from.kind != Type::TF32))
    return d.fail("this combination of types and shape");
  instr.mode[0] = k;
  instr.mode[1] = words;
  instr.mode[2] = words / 2;
  instr.mode[3] = (result.bits == 16 ? 1 : 0) | (typeC.bits == 16 ? 2 : 0);
  instr.width = static_cast<uint8_t>(typeB.kind);
  instr.type = result;
  unsigned counts[] = {result.bits == 16 ? 2u : 4u, words, words / 2,
                       typeC.bits == 16 ? 2u : 4u};
  std::vector<Ref> refs;
  for (unsigned i = 0; i < 4; ++i) {
    std::vector<Operand> elements = d.elements(i);
    if (elements.size() != counts[i])
      return d.fail("wrong number of registers in a fragment");
    for (const Operand &element : elements)
      refs.push_back(i ? d.source(element, kB32)
                       : d.destination(element, kB32));
  }
  d.setList(refs);
  instr.listResults = counts[0];
  instr.flow = Flow::WarpSync;
  instr.execute = isInteger ? runMma<int32_t> : runMma<float>;
}

//===----------------------------------------------------------------------===//
// ldmatrix and stmatrix
//===----------------------------------------------------------------------===//

/// Bytes of row `row` of matrix `matrix`; null if it has failed.
uint8_t *matrixRow(Warp &warp, const Instr &instr, unsigned row, bool isWrite) {
  if (!warp.require(instr, 1u << row, instr.src[0], "a row address"))
    return nullptr;
  uint64_t address =
      warp.value(instr.src[0], row) + static_cast<uint64_t>(instr.immediate);
  if (instr.space == Space::Generic) {
    if ((address & kWindowMask) != kSharedWindow) {
      warp.fail(instr, row, "a row address that is not in shared memory");
      return nullptr;
    }
    address -= kSharedWindow;
  } else if (!instr.src[0].wide) {
    address = uint32_t(address);
  }
  return warp.block.access(warp, instr, row, address, 16, !isWrite, isWrite);
}

/// mode[0]: transposed. Lane 4r + c has elements 2c and 2c + 1 of row r.
void runLoadMatrix(Warp &warp, const Instr &instr, uint32_t mask) {
  const Ref *refs = warp.program.lists.data() + instr.list;
  for (unsigned matrix = 0; matrix < instr.count; ++matrix) {
    uint16_t elements[8][8];
    for (unsigned row = 0; row < 8; ++row) {
      const uint8_t *from = matrixRow(warp, instr, 8 * matrix + row, false);
      if (!from)
        return;
      std::memcpy(elements[row], from, 16);
    }
    uint32_t *to = warp.write<uint32_t>(refs[matrix]);
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      unsigned row = lane / 4, column = 2 * (lane % 4);
      to[lane] = instr.mode[0] ? elements[column][row] |
                                     uint32_t(elements[column + 1][row]) << 16
                               : elements[row][column] |
                                     uint32_t(elements[row][column + 1]) << 16;
    }
    warp.define(refs[matrix], mask);
  }
}

void runStoreMatrix(Warp &warp, const Instr &instr, uint32_t mask) {
  const Ref *refs = warp.program.lists.data() + instr.list;
  for (unsigned matrix = 0; matrix < instr.count; ++matrix) {
    uint16_t elements[8][8];
    const uint32_t *from = warp.read<uint32_t>(refs[matrix]);
    uint32_t good = warp.isDefined(refs[matrix]);
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      unsigned row = lane / 4, column = 2 * (lane % 4);
      uint32_t word = good >> lane & 1 ? from[lane] : ~0u;
      for (unsigned i = 0; i < 2; ++i)
        (instr.mode[0] ? elements[column + i][row]
                       : elements[row][column + i]) = word >> 16 * i;
    }
    for (unsigned row = 0; row < 8; ++row) {
      uint8_t *to = matrixRow(warp, instr, 8 * matrix + row, true);
      if (!to)
        return;
      std::memcpy(to, elements[row], 16);
    }
  }
}

void decodeMatrix(Decoder &d, bool isLoad) {
  Instr &instr = d.instr;
  int count = d.takeOneOf({"x1", "x2", "x4"});
  instr.mode[0] = d.take("trans");
  instr.space = d.takeOneOf({"shared", "shared::cta"}) < 0 ? Space::Generic
                                                           : Space::Shared;
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8") ||
      !d.take("b16") || count < 0)
    return d.fail("this form");
  if (!d.expect(2))
    return;
  instr.count = 1u << count;
  d.address(isLoad ? 1 : 0);
  std::vector<Operand> elements = d.elements(isLoad ? 0 : 1);
  if (elements.size() != instr.count)
    return d.fail("wrong number of registers");
  std::vector<Ref> refs;
  for (const Operand &element : elements)
    refs.push_back(isLoad ? d.destination(element, kB32)
                          : d.source(element, kB32));
  d.setList(refs);
  instr.listResults = isLoad ? refs.size() : 0;
  instr.flow = Flow::WarpSync;
  instr.execute = isLoad ? runLoadMatrix : runStoreMatrix;
}

void runTransposeMatrix(Warp &warp, const Instr &instr, uint32_t mask) {
  uint16_t elements[8][8];
  const uint32_t *from = warp.read<uint32_t>(instr.src[0]);
  bool good = warp.isDefined(instr.src[0]) == ~0u;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (unsigned i = 0; i < 2; ++i)
      elements[lane / 4][2 * (lane % 4) + i] = from[lane] >> 16 * i;
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  for (unsigned lane = 0; lane < kWarp; ++lane)
    to[lane] = elements[2 * (lane % 4)][lane / 4] |
               uint32_t(elements[2 * (lane % 4) + 1][lane / 4]) << 16;
  warp.define(instr.dst, mask, good ? ~0u : 0);
}

void decodeMoveMatrix(Decoder &d) {
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8") ||
      !d.take("trans") || !d.take("b16") || !d.expect(2))
    return d.fail("this form");
  d.instr.flow = Flow::WarpSync;
  d.instr.execute = runTransposeMatrix;
  d.instr.dst = d.destination(0, kB32);
  d.instr.src[0] = d.source(1, kB32);
}

} // namespace

void quantopt::ptx::addTensorCores(DecodeTable &table) {
  table["mma"] = decodeMma;
  table["ldmatrix"] = [](Decoder &d) { decodeMatrix(d, true); };
  table["stmatrix"] = [](Decoder &d) { decodeMatrix(d, false); };
  table["movmatrix"] = decodeMoveMatrix;
}
