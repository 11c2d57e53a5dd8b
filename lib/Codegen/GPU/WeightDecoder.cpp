//===- WeightDecoder.cpp - Packed codes to A fragments --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightDecoder.h"

#include <cmath>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

/// Neighbours in k that a lane owns in a block.
static constexpr unsigned kRun = 16;

static FloatKind floatKindOf(ScaleKind kind) {
  switch (kind) {
  case ScaleKind::F16:
    return FloatKind::F16;
  case ScaleKind::BF16:
    return FloatKind::BF16;
  default:
    return FloatKind::F32;
  }
}

bool WeightDecoder::canScaleSums(const LinearProblem &problem) {
  int64_t group = problem.scheme.groupLength(problem.k);
  return problem.scheme.numGroups(problem.k) == 1 || group % kBlockK == 0;
}

bool WeightDecoder::isDifficult(const LinearProblem &problem) {
  return problem.scheme.numGroups(problem.k) > 1 &&
         problem.scheme.groupLength(problem.k) % kRun != 0;
}

WeightDecoder::WeightDecoder(KernelBuilder &builder,
                             const LinearProblem &problem, Scaling scaling,
                             bool reused)
    : problem(problem), scheme(problem.scheme), b(builder),
      kind(problem.compute), scaling(scaling), reused(reused),
      pieces(scheme.bits), codeWords(scheme.bits),
      group(scheme.groupLength(problem.k)), groups(scheme.numGroups(problem.k)),
      perElement(isDifficult(problem)) {
  parameterWords = wordsPerElement() * (perElement ? kRun : 1);
  if (scaling == Scaling::None) {
    codeWords = kSteps * kRegisters;
    parameterWords = 0;
  }
}

unsigned WeightDecoder::wordsPerElement() const {
  unsigned words = wordsPerPair();
  if (isMinimum())
    words *= 2;
  else if (scheme.zero == ZeroKind::Integer)
    ++words;
  return words;
}

//===----------------------------------------------------------------------===//
// Loads
//===----------------------------------------------------------------------===//

/// The group of a lane's element in block `column`; behind the last column, the
/// last group.
Value WeightDecoder::groupIndex(Value column, unsigned element) {
  if (groups == 1)
    return b.constant(0);
  Value index;
  if (group % kBlockK == 0) {
    index = b.div(column, group / kBlockK);
  } else {
    Value run = b.add(b.mul(column, kBlockK / kRun), b.bitAnd(b.lane(), 3));
    index = perElement ? b.div(b.add(b.mul(run, kRun), element), group)
                       : b.div(run, group / kRun);
  }
  if (problem.k % kBlockK == 0)
    return index;
  return b.select(b.less(index, groups), index, b.constant(groups - 1));
}

Value WeightDecoder::plane(Operand operand, int64_t bytes) {
  Value address = b.operand(operand);
  return expert ? b.advance(address, expert, bytes) : address;
}

int64_t WeightDecoder::codeBytesOfBlock() const {
  return scaling == Scaling::None ? kDenseBlockBytes : blockBytes(scheme.bits);
}

/// One 32-bit offset from the kernel's argument: half the registers and half
/// the instructions of a pointer.
Value WeightDecoder::codeAddress(Value rowTile, Value column, Value offset) {
  int64_t bytes = codeBytesOfBlock(), columns = columnBlocks(problem.k);
  Value place = b.add(b.mul(rowTile, columns * bytes), b.mul(column, bytes));
  if (offset)
    place = b.add(place, offset);
  bool dense = scaling == Scaling::None;
  return b.advance(plane(dense ? Operand::Dense : Operand::Codes,
                         rowTiles(problem.n) * columns * bytes),
                   place);
}

void WeightDecoder::forCodes(llvm::function_ref<void(Value, unsigned)> load) {
  if (scaling == Scaling::None) {
    // The A registers of a step of all lanes, then those of the next.
    for (int64_t step = 0; step < kSteps; ++step)
      load(b.add(b.mul(b.lane(), 16), step * kLanes * 16), kRegisters);
    return;
  }
  for (const Piece &piece : pieces) {
    unsigned together = std::min(piece.width, 4u);
    Value offset = b.mul(b.lane(), 4 * together);
    for (unsigned word = 0; word < piece.width; word += together)
      load(b.add(offset, piece.offset + wordByte(0, word, piece.width)),
           together);
  }
}

Values WeightDecoder::loadCodes(Value rowTile, Value column, Value condition) {
  Values words;
  forCodes([&](Value offset, unsigned count) {
    words.append(b.streamWords(codeAddress(rowTile, column, offset), count,
                               condition, /*evictFirst=*/!reused));
  });
  return words;
}

Values WeightDecoder::loadSharedCodes(Value offset) {
  Values words;
  forCodes([&](Value inBlock, unsigned count) {
    words.append(b.loadShared(b.add(offset, inBlock), count));
  });
  return words;
}

Values WeightDecoder::load(Value rowTile, Value column, Value condition) {
  Values words = loadCodes(rowTile, column, condition);
  words.append(loadParameters(rowTile, column, condition));
  return words;
}

Values WeightDecoder::loadParameters(Value rowTile, Value column,
                                     Value condition) {
  Values words;
  if (scaling == Scaling::None)
    return words;
  Value lane = b.lane();
  Value row = b.shiftRight(lane, 2);
  Value firstGroup = b.mul(rowTile, groups);
  for (unsigned element = 0; element < (perElement ? kRun : 1); ++element) {
    Value place = b.add(firstGroup, groupIndex(column, element));
    // Of row g and row g + 8 of eight pairs of rows.
    auto address = [&](Operand operand, int64_t bytes) {
      Value offset = b.add(b.mul(place, 8 * bytes), b.mul(row, bytes));
      return b.advance(plane(operand, rowTiles(problem.n) * groups * 8 * bytes),
                       offset);
    };
    unsigned perPair = wordsPerPair();
    words.append(
        b.loadWords(address(Operand::Scales, 4 * perPair), perPair, condition));
    if (isMinimum()) {
      words.append(b.loadWords(address(Operand::Offsets, 4 * perPair), perPair,
                               condition));
    } else if (scheme.zero == ZeroKind::Integer) {
      unsigned bytes = zeroBytes(scheme.bits) / 8;
      words.push_back(
          b.loadSmall(address(Operand::Offsets, bytes), bytes, condition));
    }
  }
  return words;
}

//===----------------------------------------------------------------------===//
// Scales and offsets
//===----------------------------------------------------------------------===//

Value WeightDecoder::number(ValueRange words, unsigned row) {
  FloatKind from = floatKindOf(scheme.scaleType);
  return from == FloatKind::F32 ? b.asFloat(words[row])
                                : b.unpack(words[0], row, from);
}

/// The offset of a code counted from center(), which is much smaller than the
/// minimum and so loses less when it is rounded.
Value WeightDecoder::centredMinimum(ValueRange words, unsigned row) {
  Value minimum = number(words.drop_front(wordsPerPair()), row);
  return b.fma(number(words, row), b.floatConstant(center()), minimum);
}

Value WeightDecoder::scalePair(ValueRange first, ValueRange second,
                               unsigned row) {
  if (floatKindOf(scheme.scaleType) == kind && first == second)
    return b.splatHalf(first[0], row);
  if (floatKindOf(scheme.scaleType) == kind)
    return b.permute(first[0], second[0], row ? 0x7632 : 0x5410);
  return b.packPair(number(first, row), number(second, row), kind);
}

Value WeightDecoder::offsetPair(ValueRange first, ValueRange second,
                                unsigned row) {
  return b.packPair(centredMinimum(first, row), centredMinimum(second, row),
                    kind);
}

WeightDecoder::Block WeightDecoder::open(ValueRange words) {
  Block block;
  block.codes.assign(words.begin(), words.begin() + codeWords);
  if (scaling == Scaling::None)
    return block;
  ValueRange parameters = words.drop_front(codeWords);
  auto element = [&](unsigned index) {
    return parameters.slice(index * wordsPerElement(), wordsPerElement());
  };
  for (unsigned pair = 0; pair < (perElement ? kRun / 2 : 1); ++pair) {
    ValueRange first = element(perElement ? 2 * pair : 0);
    ValueRange second = element(perElement ? 2 * pair + 1 : 0);
    for (unsigned row : {0u, 1u}) {
      if (scheme.zero == ZeroKind::Integer) {
        auto zero = [&](ValueRange of) {
          unsigned bits = scheme.bits <= 4 ? 4 : 8;
          return row ? b.shiftRight(of.back(), bits)
                     : b.bitAnd(of.back(), (1 << bits) - 1);
        };
        block.zeros[row].push_back(
            b.bitOr(zero(first), b.shiftLeft(zero(second), 16)));
      }
      if (scaling == Scaling::Weights) {
        block.scales[row].push_back(scalePair(first, second, row));
        if (isMinimum())
          block.offsets[row].push_back(offsetPair(first, second, row));
      } else {
        block.scales[row].push_back(number(first, row));
        if (isMinimum())
          block.offsets[row].push_back(centredMinimum(first, row));
      }
    }
  }
  return block;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

unsigned WeightDecoder::pairIndex(unsigned pair) const {
  return perElement ? pair / kRegisters * 2 + pair % kRegisters / 2 : 0;
}

Value WeightDecoder::wordOf(const Block &block, const Piece &piece,
                            unsigned pair) {
  // Pieces before this one have as many words as bits.
  return block.codes[piece.shift + fragment::wordOf(pair, piece.width)];
}

Value WeightDecoder::embed(const Block &block, unsigned pair, unsigned &shift) {
  Value power = b.constant(
      int64_t(encodeFloat(kind, std::ldexp(1.0f, mantissaBits()))) * 0x10001);
  auto mask = [&](const Piece &piece, unsigned at) {
    return b.constant((((int64_t(1) << piece.width) - 1) << at) * 0x10001);
  };
  shift = 0;
  if (pieces.count == 1) {
    // As much as fits into the mantissa is used where it stands: a word is
    // shifted once for several pairs.
    const Piece &piece = pieces.piece[0];
    unsigned bit = bitOf(pair, 0, piece.width);
    unsigned room = mantissaBits() - piece.width;
    unsigned together = (room / piece.width + 1) * piece.width;
    shift = bit % together;
    Value word = b.shiftRight(wordOf(block, piece, pair), bit - shift);
    return b.andOr(word, mask(piece, shift), power);
  }
  Value bits = power;
  for (const Piece &piece : pieces) {
    unsigned bit = bitOf(pair, 0, piece.width);
    Value word = wordOf(block, piece, pair);
    word = bit >= piece.shift ? b.shiftRight(word, bit - piece.shift)
                              : b.shiftLeft(word, piece.shift - bit);
    bits = b.andOr(word, mask(piece, piece.shift), bits);
  }
  return bits;
}

Value WeightDecoder::zeroConstant(const Block &block, unsigned pair,
                                  unsigned shift) {
  float power = std::ldexp(1.0f, mantissaBits() - shift);
  if (scheme.zero != ZeroKind::Integer)
    return b.pairConstant(-(power + center()), kind);
  Value zeros = block.zeros[pair % 2][pairIndex(pair)];
  return b.bitOr(b.shiftLeft(zeros, shift), b.pairConstant(-power, kind));
}

/// q - z of a pair, exactly.
Value WeightDecoder::integers(const Block &block, unsigned pair) {
  if (scheme.bits > mantissaBits())
    return wideIntegers(block, pair);
  unsigned shift;
  Value bits = embed(block, pair, shift);
  Value zero = zeroConstant(block, pair, shift);
  if (shift == 0)
    return b.pairAdd(bits, zero, kind);
  return b.pairFma(bits, b.pairConstant(std::ldexp(1.0f, -int(shift)), kind),
                   zero, kind);
}

/// The same by way of f32, for codes of 8 bits and a mantissa of 7. The
/// differences have 8 bits and a sign, so they are exact again.
Value WeightDecoder::wideIntegers(const Block &block, unsigned pair) {
  constexpr int64_t power = 0x4b000000; // 2^23
  Value word = wordOf(block, pieces.piece[0], pair);
  Value halves[2];
  for (unsigned half : {0u, 1u}) {
    unsigned byte = bitOf(pair, half, 8) / 8;
    Value number = b.asFloat(b.permute(word, b.constant(power), 0x7440 + byte));
    Value zero;
    if (scheme.zero == ZeroKind::Integer) {
      Value zeros = block.zeros[pair % 2][pairIndex(pair)];
      Value own = half ? b.shiftRight(zeros, 16) : b.bitAnd(zeros, 0xffff);
      zero = b.asFloat(b.bitOr(own, b.constant(power)));
    } else {
      zero = b.floatConstant(double(1 << 23) + center());
    }
    halves[half] = b.subFloat(number, zero);
  }
  return b.packPair(halves[0], halves[1], kind);
}

/// Eight codes of a word by their tables' low and high bytes. A permutation
/// finds one of eight bytes with three bits; the fourth chooses between two.
Values WeightDecoder::tableValues(const Block &block, unsigned step) {
  Value word = wordOf(block, pieces.piece[0], kRegisters * step);
  std::span<const float, 16> values = quantopt::tableValues(scheme.table);
  Value table[2][4];
  for (unsigned byte : {0u, 1u})
    for (unsigned part = 0; part < 4; ++part) {
      int64_t bits = 0;
      for (unsigned i = 0; i < 4; ++i)
        bits |= int64_t(encodeFloat(kind, values[4 * part + i]) >> (8 * byte) &
                        0xff)
                << (8 * i);
      table[byte][part] = b.constant(bits);
    }
  Value low = b.bitAnd(word, 0x77777777);
  Value choice = b.andOr(b.shiftRight(word, 1), b.constant(0x44444444),
                         b.constant(0x32103210));
  // Registers 0, 1 and 2, 3: values of element 0 and of element 1.
  Value found[2][2];
  for (unsigned element : {0u, 1u}) {
    Value index = b.shiftRight(low, 16 * element);
    Value half = b.shiftRight(choice, 16 * element);
    Value bytes[2];
    for (unsigned byte : {0u, 1u})
      bytes[byte] =
          b.permute(b.permute(table[byte][0], table[byte][1], index),
                    b.permute(table[byte][2], table[byte][3], index), half);
    found[0][element] = b.permute(bytes[0], bytes[1], 0x5140);
    found[1][element] = b.permute(bytes[0], bytes[1], 0x7362);
  }
  Values result;
  for (unsigned pair : {0u, 1u})
    for (int64_t selector : {0x5410, 0x7632})
      result.push_back(b.permute(found[pair][0], found[pair][1], selector));
  return result;
}

Values WeightDecoder::fragment(const Block &block, unsigned step) {
  if (scaling == Scaling::None)
    return Values(ValueRange(block.codes).slice(kRegisters * step, kRegisters));
  Values values;
  if (isTable())
    values = tableValues(block, step);
  for (unsigned reg = 0; reg < kRegisters; ++reg) {
    unsigned pair = kRegisters * step + reg;
    if (!isTable())
      values.push_back(integers(block, pair));
    if (scaling == Scaling::Sums)
      continue;
    Value &value = values[reg];
    Value scale = block.scales[reg % 2][pairIndex(pair)];
    value = isMinimum()
                ? b.pairFma(value, scale,
                            block.offsets[reg % 2][pairIndex(pair)], kind)
                : b.pairMul(value, scale, kind);
  }
  return values;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

bool WeightDecoder::needsInputSums() const {
  return scaling == Scaling::Sums && isMinimum();
}

Values WeightDecoder::ones() { return Values(4, b.pairConstant(1, kind)); }

Values WeightDecoder::addScaled(const Block &block, ValueRange total,
                                ValueRange sums, ValueRange inputs) {
  Values result;
  for (unsigned i = 0; i < 4; ++i) {
    unsigned row = i / 2;
    Value sum = b.fma(sums[i], block.scales[row][0], total[i]);
    if (needsInputSums())
      sum = b.fma(inputs[i], block.offsets[row][0], sum);
    result.push_back(sum);
  }
  return result;
}
