//===- VectorTile.cpp - A tile of y in vector registers
//--------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sums of a tile stay in registers through a segment of k; then they are scaled
// and added to the tile's f32 sums, which stay in registers too if there are
// enough, else in the first-level cache.
//
//===----------------------------------------------------------------------===//

#include "TileBase.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

namespace {
class VectorTile : public TileBase {
public:
  using TileBase::TileBase;

  void emit();

private:
  /// Segments of the loop, or of the end; `totals` are the f32 sums, if they
  /// are in registers.
  Values segment(Value index, int64_t blocks, ValueRange totals);
  Values partSegments(Value block, ValueRange totals);
  Values startSums(Value index);
  Values addBlock(Value codes, Value x, int64_t wordBegin, int64_t wordEnd,
                  Values sums);
  Values scaleSums(Value index, ValueRange sums, ValueRange totals);
  Value loadTotal(ValueRange totals, size_t slot) {
    return spilled ? b.load(floats, spilled, slot * lanes * 4) : totals[slot];
  }

  size_t slot(int64_t row, int64_t vector) const {
    return row * shape.vectors + vector;
  }

  Value spilled; ///< the totals, if not in registers
};
} // namespace

/// Zero, or what the middle of unsigned codes takes away from the sums.
Values VectorTile::startSums(Value index) {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  Values sums;
  for (int64_t part = 0; part < shape.split; ++part)
    for (int64_t row = 0; row < shape.rows; ++row) {
      Value start = zero;
      if (biasPerSum() && part == 0)
        start = b.splat(
            b.mul(inputScalar(b.getI32Type(), input, row, layout.sums, index),
                  biasPerSum()),
            lanes);
      sums.append(shape.vectors, start);
    }
  return sums;
}

/// Adds the products of words [wordBegin, wordEnd) of a block.
Values VectorTile::addBlock(Value codes, Value x, int64_t wordBegin,
                            int64_t wordEnd, Values sums) {
  SmallVector<CodeDecoder::Block> blocks = blocksAt(codes, wordBegin == 0);
  bool isFloat = problem.products.compute == Compute::F32;
  Type wordType = isFloat ? b.getF32Type() : Type(b.getI32Type());
  int64_t perPart = shape.rows * shape.vectors;
  for (int64_t word = wordBegin; word < wordEnd; ++word) {
    Values operands;
    for (CodeDecoder::Block &block : blocks)
      operands.push_back(decoder.operand(block, word));
    for (int64_t row = 0; row < shape.rows; ++row) {
      Value scalar = b.load(wordType, x, row * layout.rowBytes + word * 4);
      Value splat = b.splat(scalar, lanes);
      for (int64_t vector = 0; vector < shape.vectors; ++vector) {
        Value &sum = sums[word % shape.split * perPart + slot(row, vector)];
        if (isFloat)
          sum = b.multiplyAdd(operands[vector], splat, sum);
        else if (isBytes())
          sum = target.dotBytes(b, sum, operands[vector], splat,
                                decoder.isSigned());
        else
          sum = target.dotPairs(b, sum, operands[vector], splat);
      }
    }
  }
  return sums;
}

/// Adds the sums of segment `index` to the totals.
Values VectorTile::scaleSums(Value index, ValueRange sums, ValueRange totals) {
  Scales groupScales = loadScales(index);
  Values result;
  int64_t perPart = shape.rows * shape.vectors;
  for (int64_t row = 0; row < shape.rows; ++row) {
    InputScales rowScales = loadInputScales(input, row, index);
    for (int64_t vector = 0; vector < shape.vectors; ++vector) {
      size_t at = slot(row, vector);
      Value sum = sums[at];
      for (int64_t part = 1; part < shape.split; ++part) {
        Value other = sums[part * perPart + at];
        sum = isBytes() ? b.add(sum, other) : b.addFloat(sum, other);
      }
      Value total =
          addScaled(loadTotal(totals, at), sum, groupScales, vector, rowScales);
      if (spilled)
        b.store(total, spilled, at * lanes * 4);
      else
        result.push_back(total);
    }
  }
  return result;
}

/// Segment `index` of whole blocks.
Values VectorTile::segment(Value index, int64_t blocks, ValueRange totals) {
  int64_t blockBytes = line::blockBytes(scheme.bits);
  int64_t wordBytes = layout.wordsPerBlock * 4;
  Value codesAt =
      b.advance(codes, b.mul(index, segments.blocks() * blockBytes));
  Value inputAt =
      b.advance(b.advance(input, b.mul(index, segments.blocks() * wordBytes)),
                layout.words);
  Values sums = startSums(index);
  if (blocks == 1)
    sums = addBlock(codesAt, inputAt, 0, layout.wordsPerBlock, sums);
  else
    sums =
        b.loop(b.constant(blocks), 1, sums, [&](Value i, ValueRange carried) {
          return addBlock(b.advance(codesAt, b.mul(i, blockBytes)),
                          b.advance(inputAt, b.mul(i, wordBytes)), 0,
                          layout.wordsPerBlock, Values(carried));
        });
  return scaleSums(index, sums, totals);
}

/// The segments of one block that holds several.
Values VectorTile::partSegments(Value block, ValueRange totals) {
  Value codesAt = b.advance(codes, b.mul(block, line::blockBytes(scheme.bits)));
  Value inputAt = b.advance(
      b.advance(input, b.mul(block, layout.wordsPerBlock * 4)), layout.words);
  int64_t words = layout.wordsPerBlock / segments.perBlock();
  Values result(totals);
  for (int64_t part = 0; part < segments.perBlock(); ++part) {
    Value index = b.add(b.mul(block, segments.perBlock()), b.constant(part));
    Values sums = addBlock(codesAt, inputAt, part * words, (part + 1) * words,
                           startSums(index));
    result = scaleSums(index, sums, result);
  }
  return result;
}

void VectorTile::emit() {
  int64_t sums = shape.rows * shape.vectors;
  // Beside sums: operands, their scales, and what is in flight.
  int64_t needed = sums * (1 + shape.split) + 2 * shape.vectors + 2;
  Value zero = b.splatFloat(floats, 0);
  Values totals;
  if (needed <= target.registers()) {
    totals.append(sums, zero);
  } else {
    spilled = LLVM::AllocaOp::create(b, b.pointerType(), floats, b.word(sums),
                                     lanes * 4);
    for (int64_t at = 0; at < sums; ++at)
      b.store(zero, spilled, at * lanes * 4);
  }
  if (segments.hasWholeBlocks()) {
    totals = b.loop(b.constant(segments.numFull()), 1, totals,
                    [&](Value index, ValueRange carried) {
                      return segment(index, segments.blocks(), carried);
                    });
    if (segments.tailBlocks())
      totals = segment(b.constant(segments.numFull()), segments.tailBlocks(),
                       totals);
  } else {
    totals = b.loop(b.constant(line::columnBlocks(problem.k)), 1, totals,
                    [&](Value block, ValueRange carried) {
                      return partSegments(block, carried);
                    });
  }
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value to = outputRow(b.constant(row));
    for (int64_t vector = 0; vector < shape.vectors; ++vector)
      storeTotal(loadTotal(totals, slot(row, vector)), to, vector);
  }
}

void cpu::emitVectorTile(KernelBuilder &b, func::FuncOp function,
                         const LinearProblem &problem,
                         const LinearWeight &weight, const TileShape &shape) {
  VectorTile(b, function, problem, weight, shape).emit();
}
