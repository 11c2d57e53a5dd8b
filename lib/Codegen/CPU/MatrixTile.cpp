//===- MatrixTile.cpp - A tile of y in matrix registers -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Of a run of k, codes are decoded once into a buffer in the first cache. Then,
// for all rows of x, 32 at a time: products, whose sums go through memory into
// vector registers, where they are scaled and added to totals in the first
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

/// Segments up to so many bytes of a row of x are scaled together, so that
/// totals are read and written less often; sums of more do not stay in the
/// first cache.
static constexpr int64_t kRunBytes = 256, kMostTogether = 4;

namespace {
class MatrixTile : public TileBase {
public:
  MatrixTile(KernelBuilder &builder, func::FuncOp function,
             const LinearProblem &problem, const LinearWeight &weight,
             const TileShape &shape);

  void emit();

private:
  /// Neighbours in k that are multiplied one after the other and scaled
  /// together: whole segments, or a part of one.
  struct Run {
    Value firstSegment, firstBlock; ///< i64
    int64_t segments, blocks;       ///< and how many blocks each has
    /// What a sum of x is multiplied with is added once for a segment.
    bool addsInputSums = true;
  };
  void run(const Run &run);
  void segment(Value index, int64_t blocks);
  void decode(Value codes, int64_t blocks);
  void decodeStep(Value codes, Value to, int64_t blocks);
  /// Products of `numInputs` registers of x with one segment, to `sums`.
  void multiply(Value words, Value weights, int64_t numInputs, int64_t steps,
                Value sums);
  void addSums(Value firstRow, int64_t numInputs, const Run &run,
               ArrayRef<Scales> scales, Value nextWords);
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
  int64_t runBlocks() const {
    return kDecodedBytes / (layout.wordsPerBlock * lanes * 4);
  }
  int64_t stepBytes() const { return shape.vectors * registerBytes(); }
  int64_t sumsBytes() const {
    return MatrixRegisters::kOperands * shape.vectors * registerBytes();
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
  int64_t steps = blocks / stepBlocks;
  b.loop(b.constant(steps), 1, {}, [&](Value step, ValueRange) {
    decodeStep(b.advance(codes, b.mul(step, stepCodes)),
               b.advance(decoded, b.mul(step, stepBytes())), stepBlocks);
    return Values();
  });
  if (int64_t rest = blocks % stepBlocks)
    decodeStep(b.advance(codes, steps * stepCodes),
               b.advance(decoded, steps * stepBytes()), rest);
}

/// `body` gets each register of x with each of W.
void MatrixTile::forRegisters(int64_t numInputs,
                              function_ref<void(int64_t, int64_t)> body) {
  for (int64_t i = 0; i < numInputs; ++i)
    for (int64_t vector = 0; vector < shape.vectors; ++vector)
      body(i, vector);
}

void MatrixTile::multiply(Value words, Value weights, int64_t numInputs,
                          int64_t steps, Value sums) {
  forRegisters(numInputs, [&](int64_t i, int64_t vector) {
    registers.clearSums(i, vector);
  });
  int64_t inputBytes = stepBlocks * layout.wordsPerBlock * 4;
  b.loop(b.constant(steps), 1, {}, [&](Value step, ValueRange) {
    Value x = b.advance(words, b.mul(step, inputBytes));
    Value w = b.advance(weights, b.mul(step, stepBytes()));
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
  forRegisters(numInputs, [&](int64_t i, int64_t vector) {
    int64_t place = i * shape.vectors + vector;
    registers.storeSums(i, vector, b.advance(sums, place * registerBytes()));
  });
}

void MatrixTile::addSums(Value firstRow, int64_t numInputs, const Run &run,
                         ArrayRef<Scales> scales, Value nextWords) {
  int64_t runBytes = run.segments * run.blocks * layout.wordsPerBlock * 4;
  b.loop(b.constant(registerRows), 1, {}, [&](Value row, ValueRange) {
    for (int64_t i = 0; i < numInputs; ++i) {
      Value own = b.add(b.add(firstRow, row), b.constant(i * registerRows));
      Value from = inputRow(own);
      // The words of the next run: rows lie too far apart for the processor's
      // own prefetcher.
      Value next = b.advance(from, nextWords);
      for (int64_t at = 0; at < runBytes; at += line::kLineBytes)
        b.prefetchSoon(next, at);
      SmallVector<InputScales> inputScales;
      for (int64_t at = 0; at < run.segments; ++at) {
        Value index = b.add(run.firstSegment, b.constant(at));
        inputScales.push_back(loadInputScales(from, 0, index));
        if (!run.addsInputSums)
          inputScales.back().sum = {};
      }
      for (int64_t vector = 0; vector < shape.vectors; ++vector) {
        int64_t place = i * shape.vectors + vector;
        Value sumsAt = b.advance(sums, b.mul(row, lanes * 4));
        Value address = totalAt(own, vector);
        Value total = b.load(floats, address);
        for (int64_t at = 0; at < run.segments; ++at) {
          Value sum = b.load(sumType, sumsAt,
                             at * sumsBytes() + place * registerBytes());
          total = addScaled(total, sum, scales[at], vector, inputScales[at]);
        }
        b.store(total, address);
      }
    }
    return Values();
  });
}

void MatrixTile::run(const Run &run) {
  Value block =
      b.add(b.mul(run.firstSegment, segments.blocks()), run.firstBlock);
  decode(b.advance(codes, b.mul(block, line::blockBytes(scheme.bits))),
         run.segments * run.blocks);
  SmallVector<Scales> scales;
  for (int64_t at = 0; at < run.segments; ++at)
    scales.push_back(loadScales(b.add(run.firstSegment, b.constant(at))));
  int64_t segmentBytes = run.blocks * layout.wordsPerBlock * 4;
  int64_t steps = line::ceilDiv(run.blocks, stepBlocks);
  Value words =
      b.add(b.mul(block, layout.wordsPerBlock * 4), b.constant(layout.words));
  Value nextWords = b.add(words, b.constant(run.segments * segmentBytes));
  auto rows = [&](Value row, int64_t numInputs) {
    for (int64_t at = 0; at < run.segments; ++at)
      multiply(b.advance(b.advance(inputRow(row), words), at * segmentBytes),
               b.advance(decoded, at * steps * stepBytes()), numInputs, steps,
               b.advance(sums, at * sumsBytes()));
    addSums(row, numInputs, run, scales, nextWords);
  };
  int64_t both = MatrixRegisters::kOperands * registerRows;
  int64_t pairs = shape.rows / both;
  b.loop(b.constant(pairs), 1, {}, [&](Value pair, ValueRange) {
    rows(b.mul(pair, both), MatrixRegisters::kOperands);
    return Values();
  });
  if (shape.rows % both)
    rows(b.constant(pairs * both), 1);
}

void MatrixTile::segment(Value index, int64_t blocks) {
  int64_t most = runBlocks();
  run({index, b.constant(0), 1, std::min(most, blocks)});
  int64_t more = blocks / most - 1;
  if (more > 0)
    b.loop(b.constant(more), 1, {}, [&](Value i, ValueRange) {
      Value first = b.mul(b.add(i, b.constant(1)), most);
      run({index, first, 1, most, /*addsInputSums=*/false});
      return Values();
    });
  if (blocks > most && blocks % most)
    run({index, b.constant(blocks / most * most), 1, blocks % most,
         /*addsInputSums=*/false});
}

void MatrixTile::emit() {
  auto buffer = [&](int64_t vectors) -> Value {
    return LLVM::AllocaOp::create(b, b.pointerType(), floats, b.word(vectors),
                                  lanes * 4);
  };
  int64_t together = std::clamp<int64_t>(
      kRunBytes / (segments.blocks() * layout.wordsPerBlock * 4), 1,
      kMostTogether);
  int64_t decodedWords = std::min(runBlocks(), line::columnBlocks(problem.k)) *
                         layout.wordsPerBlock;
  int64_t stepWords = stepBlocks * layout.wordsPerBlock;
  decoded = buffer(line::ceilDiv(decodedWords, stepWords) *
                   MatrixRegisters::kRows * shape.vectors);
  sums = buffer(together * sumsBytes() / (lanes * 4));
  // A buffer of the tile alone is what totals need.
  totals = shape.toBuffer ? output : buffer(shape.rows * shape.vectors);
  Value numTotals = b.constant(shape.rows * shape.vectors);
  b.loop(numTotals, 1, {}, [&](Value i, ValueRange) {
    b.store(b.splatFloat(floats, 0), b.advance(totals, b.mul(i, lanes * 4)));
    return Values();
  });
  registers.configure();
  int64_t runs = segments.numFull() / together;
  b.loop(b.constant(runs), 1, {}, [&](Value index, ValueRange) {
    if (together == 1)
      segment(index, segments.blocks());
    else
      run({b.mul(index, together), b.constant(0), together, segments.blocks()});
    return Values();
  });
  for (int64_t index = runs * together; index < segments.numFull(); ++index)
    segment(b.constant(index), segments.blocks());
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
