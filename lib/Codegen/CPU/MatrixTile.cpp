//===- MatrixTile.cpp - A tile of y in matrix registers -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Of a part of k, codes are decoded once into a buffer in the first cache.
// Then, for all rows of x, 32 at a time: products, whose sums go through memory
// into vector registers, where they are scaled and added to totals in the first
// cache.
//
//===----------------------------------------------------------------------===//

#include "MatrixRegisters.h"
#include "TileBase.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

/// Bytes of W, decoded, for each vector of rows.
static constexpr int64_t kDecodedBytes = 8192;

namespace {
class MatrixTile : public TileBase {
public:
  MatrixTile(KernelBuilder &builder, func::FuncOp function,
             const LinearProblem &problem, const LinearWeight &weight,
             const TileShape &shape);

  void emit();

private:
  void segment(Value index, int64_t blocks);
  /// Blocks [first, first + blocks) of segment `index`. What a sum of x is
  /// multiplied with is added once for a segment.
  void part(Value index, Value first, int64_t blocks, bool addsInputSums);
  void decode(Value codes, int64_t blocks);
  void decodeStep(Value codes, Value to, int64_t blocks);
  /// Products of `numInputs` registers of x.
  void multiply(Value words, int64_t numInputs, int64_t steps);
  void storeSums(int64_t numInputs);
  void addSums(Value firstRow, int64_t numInputs, Value index,
               const Scales &scales, bool addsInputSums, Value nextWords,
               int64_t nextBytes);
  void forRegisters(int64_t numInputs,
                    function_ref<void(int64_t, int64_t)> body);

  Value inputRow(Value row) {
    return b.advance(input, b.mul(row, layout.rowBytes));
  }
  Value totalAt(Value row, int64_t vector) {
    return b.advance(
        totals,
        b.mul(b.add(b.mul(row, shape.vectors), b.constant(vector)), lanes * 4));
  }
  /// Whether bytes of W are moved around 0 when they are decoded, so that sums
  /// are what they stand for.
  bool centers() const { return biasPerSum() != 0; }
  int64_t partBlocks() const {
    return kDecodedBytes / (layout.wordsPerBlock * lanes * 4);
  }
  /// Of decoded words, or of sums.
  int64_t registerBytes() const {
    return MatrixRegisters::kRows * MatrixRegisters::kRowBytes;
  }

  /// Blocks of k that a product takes.
  const int64_t stepBlocks;
  const int64_t registerRows; ///< of x
  MatrixRegisters registers;
  Value decoded, sums, totals;
};
} // namespace

/// A product takes 64 bytes of a row of x, or the 32 that a segment has.
static int64_t blocksPerStep(const Segments &segments,
                             const InputLayout &layout) {
  int64_t blocks = MatrixRegisters::kWords / layout.wordsPerBlock;
  return segments.blocks() % blocks == 0 ? blocks : 1;
}

MatrixTile::MatrixTile(KernelBuilder &builder, func::FuncOp function,
                       const LinearProblem &problem, const LinearWeight &weight,
                       const TileShape &shape)
    : TileBase(builder, function, problem, weight, shape),
      stepBlocks(blocksPerStep(segments, layout)),
      registerRows(std::min(shape.rows, MatrixRegisters::kRows)),
      registers(builder, registerRows, stepBlocks * layout.wordsPerBlock) {}

/// The words of one product; those of blocks that are not there are 0.
void MatrixTile::decodeStep(Value codes, Value to, int64_t blocks) {
  Value zero = b.splatInt(b.vector(lanes, b.getI32Type()), 0);
  auto operand = [&](CodeDecoder::Block &block, int64_t word) {
    Value value = decoder.operand(block, word);
    if (!centers())
      return value;
    VectorType bytes = b.vector(4 * lanes, b.getI8Type());
    Value middle = b.splatInt(bytes, biasPerSum());
    return b.bitcast(value.getType(), b.add(b.bitcast(bytes, value), middle));
  };
  for (int64_t block = 0; block < stepBlocks; ++block) {
    SmallVector<CodeDecoder::Block> lines;
    if (block < blocks)
      lines = blocksAt(b.advance(codes, block * line::blockBytes(scheme.bits)),
                       true);
    for (int64_t word = 0; word < layout.wordsPerBlock; ++word)
      for (int64_t vector = 0; vector < shape.vectors; ++vector)
        b.store(block < blocks ? operand(lines[vector], word) : zero, to,
                vector * registerBytes() +
                    (block * layout.wordsPerBlock + word) * lanes * 4);
  }
}

void MatrixTile::decode(Value codes, int64_t blocks) {
  int64_t stepCodes = stepBlocks * line::blockBytes(scheme.bits);
  int64_t stepBytes = shape.vectors * registerBytes();
  int64_t steps = blocks / stepBlocks;
  b.loop(b.constant(steps), 1, {}, [&](Value step, ValueRange) {
    decodeStep(b.advance(codes, b.mul(step, stepCodes)),
               b.advance(decoded, b.mul(step, stepBytes)), stepBlocks);
    return Values();
  });
  if (int64_t rest = blocks % stepBlocks)
    decodeStep(b.advance(codes, steps * stepCodes),
               b.advance(decoded, steps * stepBytes), rest);
}

/// `body` gets each register of x with each of W.
void MatrixTile::forRegisters(int64_t numInputs,
                              function_ref<void(int64_t, int64_t)> body) {
  for (int64_t i = 0; i < numInputs; ++i)
    for (int64_t vector = 0; vector < shape.vectors; ++vector)
      body(i, vector);
}

void MatrixTile::multiply(Value words, int64_t numInputs, int64_t steps) {
  forRegisters(numInputs, [&](int64_t i, int64_t vector) {
    registers.clearSums(i, vector);
  });
  int64_t inputBytes = stepBlocks * layout.wordsPerBlock * 4;
  int64_t weightBytes = shape.vectors * registerBytes();
  b.loop(b.constant(steps), 1, {}, [&](Value step, ValueRange) {
    Value x = b.advance(words, b.mul(step, inputBytes));
    Value w = b.advance(decoded, b.mul(step, weightBytes));
    for (int64_t i = 0; i < numInputs; ++i)
      registers.loadInput(i, b.advance(x, i * registerRows * layout.rowBytes),
                          layout.rowBytes);
    for (int64_t vector = 0; vector < shape.vectors; ++vector)
      registers.loadWeight(vector, b.advance(w, vector * registerBytes()));
    forRegisters(numInputs, [&](int64_t i, int64_t vector) {
      if (isBytes())
        registers.multiplyBytes(i, vector, centers());
      else
        registers.multiplyPairs(i, vector);
    });
    return Values();
  });
}

void MatrixTile::storeSums(int64_t numInputs) {
  forRegisters(numInputs, [&](int64_t i, int64_t vector) {
    int64_t place = i * shape.vectors + vector;
    registers.storeSums(i, vector, b.advance(sums, place * registerBytes()));
  });
}

void MatrixTile::addSums(Value firstRow, int64_t numInputs, Value index,
                         const Scales &scales, bool addsInputSums,
                         Value nextWords, int64_t nextBytes) {
  b.loop(b.constant(registerRows), 1, {}, [&](Value row, ValueRange) {
    for (int64_t i = 0; i < numInputs; ++i) {
      Value own = b.add(b.add(firstRow, row), b.constant(i * registerRows));
      Value from = inputRow(own);
      InputScales rowScales = loadInputScales(from, 0, index);
      if (!addsInputSums)
        rowScales.sum = {};
      Value next = b.advance(from, nextWords);
      for (int64_t at = 0; at < nextBytes; at += line::kLineBytes)
        b.prefetchSoon(next, at);
      for (int64_t vector = 0; vector < shape.vectors; ++vector) {
        int64_t place = i * shape.vectors + vector;
        Value sum = b.load(sumType, b.advance(sums, b.mul(row, lanes * 4)),
                           place * registerBytes());
        Value at = totalAt(own, vector);
        b.store(addScaled(b.load(floats, at), sum, scales, vector, rowScales),
                at);
      }
    }
    return Values();
  });
}

void MatrixTile::part(Value index, Value first, int64_t blocks,
                      bool addsInputSums) {
  Value block = b.add(b.mul(index, segments.blocks()), first);
  decode(b.advance(codes, b.mul(block, line::blockBytes(scheme.bits))), blocks);
  Scales groupScales = loadScales(index);
  Value words =
      b.add(b.mul(block, layout.wordsPerBlock * 4), b.constant(layout.words));
  int64_t steps = line::ceilDiv(blocks, stepBlocks);
  auto products = [&](Value row, int64_t numInputs) {
    multiply(b.advance(inputRow(row), words), numInputs, steps);
  };
  auto scaleSums = [&](Value row, int64_t numInputs) {
    int64_t partBytes = blocks * layout.wordsPerBlock * 4;
    addSums(row, numInputs, index, groupScales, addsInputSums,
            b.add(words, b.constant(partBytes)), partBytes);
  };
  // While products are made, the sums of those before are scaled.
  int64_t both = MatrixRegisters::kOperands * registerRows;
  int64_t pairs = shape.rows / both;
  int64_t numInputs = pairs ? MatrixRegisters::kOperands : 1;
  products(b.constant(0), numInputs);
  storeSums(numInputs);
  if (pairs > 1)
    b.loop(b.constant(pairs - 1), 1, {}, [&](Value before, ValueRange) {
      Value row = b.mul(before, both);
      products(b.add(row, b.constant(both)), numInputs);
      scaleSums(row, numInputs);
      storeSums(numInputs);
      return Values();
    });
  if (pairs && shape.rows % both) {
    products(b.constant(pairs * both), 1);
    scaleSums(b.constant((pairs - 1) * both), numInputs);
    storeSums(1);
    scaleSums(b.constant(pairs * both), 1);
  } else {
    scaleSums(b.constant(std::max<int64_t>(pairs - 1, 0) * both), numInputs);
  }
}

void MatrixTile::segment(Value index, int64_t blocks) {
  int64_t most = partBlocks();
  part(index, b.constant(0), std::min(most, blocks), true);
  int64_t more = blocks / most - 1;
  if (more > 0)
    b.loop(b.constant(more), 1, {}, [&](Value i, ValueRange) {
      part(index, b.mul(b.add(i, b.constant(1)), most), most, false);
      return Values();
    });
  if (blocks > most && blocks % most)
    part(index, b.constant(blocks / most * most), blocks % most, false);
}

void MatrixTile::emit() {
  auto buffer = [&](int64_t vectors) -> Value {
    return LLVM::AllocaOp::create(b, b.pointerType(), floats, b.word(vectors),
                                  lanes * 4);
  };
  int64_t partWords = std::min(partBlocks(), line::columnBlocks(problem.k)) *
                      layout.wordsPerBlock;
  int64_t stepWords = stepBlocks * layout.wordsPerBlock;
  decoded = buffer(line::ceilDiv(partWords, stepWords) *
                   MatrixRegisters::kRows * shape.vectors);
  sums = buffer(MatrixRegisters::kOperands * MatrixRegisters::kRows *
                shape.vectors);
  // A buffer of the tile alone is what totals need.
  totals = shape.toBuffer ? output : buffer(shape.rows * shape.vectors);
  Value numTotals = b.constant(shape.rows * shape.vectors);
  b.loop(numTotals, 1, {}, [&](Value i, ValueRange) {
    b.store(b.splatFloat(floats, 0), b.advance(totals, b.mul(i, lanes * 4)));
    return Values();
  });
  registers.configure();
  b.loop(b.constant(segments.numFull()), 1, {}, [&](Value index, ValueRange) {
    segment(index, segments.blocks());
    return Values();
  });
  if (segments.tailBlocks())
    segment(b.constant(segments.numFull()), segments.tailBlocks());
  registers.release();
  if (shape.toBuffer)
    return;
  b.loop(b.constant(shape.rows), 1, {}, [&](Value row, ValueRange) {
    Value to = outputRow(row);
    for (int64_t vector = 0; vector < shape.vectors; ++vector)
      storeTotal(b.load(floats, totalAt(row, vector)), to, vector);
    return Values();
  });
}

void cpu::emitMatrixTile(KernelBuilder &b, func::FuncOp function,
                         const LinearProblem &problem,
                         const LinearWeight &weight, const TileShape &shape) {
  MatrixTile(b, function, problem, weight, shape).emit();
}
