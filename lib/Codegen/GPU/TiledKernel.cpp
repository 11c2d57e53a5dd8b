//===- TiledKernel.cpp - y = x * W^T for tens of rows of x and more -------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each warp has its own rows of W, whose codes go from global memory to
// registers; x, which all warps need, goes through a ring in shared memory.
//
//===----------------------------------------------------------------------===//

#include "Striped.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

bool kernels::readsInputDirectly(const LinearProblem &problem) {
  // Copies are of 16 bytes.
  return problem.x == problem.compute && problem.k % 8 == 0;
}

namespace {
class Tiled : public Striped {
public:
  Tiled(KernelBuilder &builder, const LinearProblem &problem,
        const TileShape &shape)
      : Striped(builder, problem, shape, scalingOf(problem, shape)),
        scaleSums(scalingOf(problem, shape) == Scaling::Sums) {}

private:
  static Scaling scalingOf(const LinearProblem &problem,
                           const TileShape &shape) {
    if (shape.dense)
      return Scaling::None;
    // With many tokens there are no registers for a second set of sums.
    return WeightDecoder::canScaleSums(problem) && shape.tokens <= 32
               ? Scaling::Sums
               : Scaling::Weights;
  }
  Values sumColumns(Value first, Value last) override;
  /// The words of the warp's row tiles.
  Values load(Value column, Value exists);
  void startCopies(Value stage, Value column, Value exists);
  /// `sums` plus one block of k.
  Values multiply(Value stage, ValueRange words, ValueRange sums);

  bool scaleSums;
};
} // namespace

/// One stage of x: a row of a token has 64 k, 8 chunks of 16 bytes, of which
/// the number of the row says the order: eight rows are read without conflict.
void Tiled::startCopies(Value stage, Value column, Value exists) {
  int64_t chunks = shape.tokens * 8, threads = shape.warps * kWarp;
  bool direct = readsInputDirectly(problem);
  int64_t rowBytes =
      2 * (direct ? problem.k : columnBlocks(problem.k) * kBlockK);
  Value x = b.operand(direct ? Operand::X : Operand::Arranged);
  for (int64_t first = 0; first < chunks; first += threads) {
    Value index = b.add(b.thread(), first);
    Value row = b.shiftRight(index, 3), chunk = b.bitAnd(index, 7);
    Value inside;
    if (first + threads > chunks)
      inside = b.less(index, chunks);
    b.when(inside, [&] {
      Value k = b.add(b.mul(column, kBlockK), b.mul(chunk, 8));
      Value valid = b.both(exists, tokens.exists(row));
      if (direct && problem.k % kBlockK != 0)
        valid = b.both(valid, b.less(k, problem.k));
      // Nothing is read then, but the address should be one.
      Value address = b.advance(b.advance(x, tokens.row(row), rowBytes),
                                b.select(valid, k, b.constant(0)), 2);
      Value place = b.mul(b.bitXor(chunk, b.bitAnd(row, 7)), 16);
      Value offset =
          b.add(b.add(b.mul(stage, stageBytes), b.mul(row, 128)), place);
      b.copyAsync(offset, address,
                  b.select(valid, b.constant(16), b.constant(0)));
    });
  }
}

Values Tiled::load(Value column, Value exists) {
  Values words;
  for (int64_t i = 0; i < shape.rowTiles; ++i)
    words.append(decoder.load(rowTile(i), column, exists));
  return words;
}

Values Tiled::multiply(Value stage, ValueRange words, ValueRange sums) {
  Value row = b.shiftRight(b.lane(), 2), run = b.bitAnd(b.lane(), 3);
  std::vector<WeightDecoder::Block> blocks;
  SmallVector<SmallVector<Values>> fragments(shape.rowTiles);
  for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
    blocks.push_back(decoder.open(
        words.slice(tile * decoder.numWords(), decoder.numWords())));
    for (unsigned step = 0; step < kSteps; ++step)
      fragments[tile].push_back(decoder.fragment(blocks[tile], step));
  }
  // A lane's run of 16 k is two neighbouring chunks, wherever the order of the
  // row puts them.
  Value place = b.mul(b.bitXor(b.mul(run, 2), row), 16);
  Value first = b.add(b.add(b.mul(stage, stageBytes), b.mul(row, 128)), place);
  Value second = b.bitXor(first, b.constant(16));
  Values result(sums);
  Values zero(4, b.floatConstant(0));
  for (int64_t at = 0; at < tokenTiles; ++at) {
    Values pairs = b.loadShared(b.add(first, at * kTokens * 128), 4);
    pairs.append(b.loadShared(b.add(second, at * kTokens * 128), 4));
    Values inputSums;
    if (decoder.needsInputSums()) {
      inputSums = zero;
      for (unsigned step = 0; step < kSteps; ++step)
        inputSums = b.mma(decoder.ones(), pairs[2 * step], pairs[2 * step + 1],
                          inputSums, problem.compute);
    }
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
      auto total =
          MutableArrayRef<Value>(result).slice(4 * (tile * tokenTiles + at), 4);
      Values sum = scaleSums ? zero : Values(total);
      for (unsigned step = 0; step < kSteps; ++step)
        sum = b.mma(fragments[tile][step], pairs[2 * step], pairs[2 * step + 1],
                    sum, problem.compute);
      if (scaleSums)
        sum = decoder.addScaled(blocks[tile], total, sum, inputSums);
      llvm::copy(sum, total.begin());
    }
  }
  return result;
}

Values Tiled::sumColumns(Value first, Value last) {
  for (int64_t i = 0; i < shape.stages - 1; ++i) {
    Value column = b.add(first, i);
    startCopies(b.constant(i), column, b.less(column, last));
    b.commitCopies();
  }
  // Sums, the words of the next blocks of k, and the stage.
  int64_t numWords = shape.rowTiles * decoder.numWords();
  Values state(numSums(), b.floatConstant(0));
  for (int64_t i = 0; i < shape.ahead; ++i) {
    Value column = b.add(first, i);
    state.append(load(column, i ? b.less(column, last) : Value()));
  }
  state.push_back(b.constant(0));
  Values end = b.loop(first, last, 1, state, [&](Value column, ValueRange now) {
    Value stage = now.back();
    b.waitForCopies(shape.stages - 2);
    // The stage is there for all, and the one before it is not read any more.
    b.barrier();
    Value refill = b.add(column, shape.stages - 1);
    Value next = b.add(stage, 1);
    next = b.select(b.equal(next, shape.stages), b.constant(0), next);
    Value free = b.add(stage, shape.stages - 1);
    free = b.select(b.less(free, shape.stages), free,
                    b.sub(free, b.constant(shape.stages)));
    startCopies(free, refill, b.less(refill, last));
    b.commitCopies();
    Value following = b.add(column, shape.ahead);
    Values words = load(following, b.less(following, last));
    ValueRange waiting = now.drop_front(numSums()).drop_back();
    Values result = multiply(stage, waiting.take_front(numWords),
                             now.take_front(numSums()));
    llvm::append_range(result, waiting.drop_front(numWords));
    result.append(words);
    result.push_back(next);
    return result;
  });
  b.waitForCopies(0);
  b.barrier();
  end.truncate(numSums());
  return end;
}

KernelLaunch kernels::emitTiled(mlir::gpu::GPUModuleOp module,
                                const LinearProblem &problem,
                                const TileShape &shape) {
  Operand input = readsInputDirectly(problem) ? Operand::X : Operand::Arranged;
  int64_t sharedBytes = shape.stages * shape.tokens * 128;
  return emitStriped<Tiled>(module, "tiled", problem, shape, input, sharedBytes,
                            /*blocksPerProcessor=*/shape.warps <= 4 ? 2 : 1);
}
