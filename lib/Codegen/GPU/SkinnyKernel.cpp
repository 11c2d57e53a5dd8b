//===- SkinnyKernel.cpp - y = x * W^T for up to 16 rows of x --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The time is that of reading the weights once, so all that matters is that
// enough of them are under way: a warp loads several blocks ahead into
// registers, sixteen bytes a lane, without shared memory. Neighbouring warps
// take neighbouring blocks of k; their sums meet in shared memory, and are
// added in the order of the warps.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

namespace {
class Skinny {
public:
  Skinny(KernelBuilder &builder, const LinearProblem &problem,
         const SkinnyShape &shape)
      : b(builder), problem(problem), shape(shape),
        decoder(builder, problem,
                WeightDecoder::canScaleSums(problem) ? Scaling::Sums
                                                     : Scaling::Weights,
                /*reused=*/false),
        tokens(builder, problem, shape.tokenTiles * kTokens),
        scaleSums(WeightDecoder::canScaleSums(problem)),
        columns(columnBlocks(problem.k)) {}

  void emit();

private:
  void emitBody();
  /// The words of every row tile of the blocks from `first` on.
  Values load(Value first);
  /// `sums` plus what these blocks add.
  Values multiply(Value first, ValueRange words, ValueRange sums);
  void reduce(ValueRange sums);
  /// Null if every block that can be asked for exists.
  Value columnExists(Value column);
  Value tileIndex(int64_t i);

  KernelBuilder &b;
  const LinearProblem &problem;
  SkinnyShape shape;
  WeightDecoder decoder;
  TokenRows tokens;
  bool scaleSums;
  int64_t columns;
  Value warp, firstTile;
  /// Rows of x that this lane reads, by tile.
  Values inputRows;
};
} // namespace

Value Skinny::columnExists(Value column) { return b.less(column, columns); }

/// A tile behind the last one is read as the last, and not stored.
Value Skinny::tileIndex(int64_t i) {
  Value tile = b.add(firstTile, i);
  int64_t tiles = rowTiles(problem.n);
  if (tiles % shape.rowTiles == 0)
    return tile;
  return b.select(b.less(tile, tiles), tile, b.constant(tiles - 1));
}

Values Skinny::load(Value first) {
  Values words;
  for (int64_t i = 0; i < shape.blocks; ++i) {
    Value column = b.add(first, i * shape.warps);
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
      words.append(decoder.load(tileIndex(tile), column, columnExists(column)));
  }
  return words;
}

Values Skinny::multiply(Value first, ValueRange words, ValueRange sums) {
  Values result(sums);
  Value row = b.shiftRight(b.lane(), 2), run = b.bitAnd(b.lane(), 3);
  for (int64_t i = 0; i < shape.blocks; ++i) {
    Value column = b.add(first, i * shape.warps);
    Value k = b.add(b.mul(column, kBlockK), b.mul(run, 16));
    SmallVector<Values> x;
    for (int64_t tile = 0; tile < shape.tokenTiles; ++tile) {
      Value token = b.add(row, tile * kTokens);
      x.push_back(loadRun(b, problem, inputRows[tile], k,
                          b.both(columnExists(column), tokens.exists(token))));
    }
    Values zero(4, b.floatConstant(0));
    // Sums of the activations are the same for all rows of W.
    SmallVector<Values> inputSums(shape.tokenTiles);
    if (decoder.needsInputSums())
      for (auto [sum, pairs] : llvm::zip(inputSums, x)) {
        sum = zero;
        for (unsigned step = 0; step < kSteps; ++step)
          sum = b.mma(decoder.ones(), pairs[2 * step], pairs[2 * step + 1], sum,
                      problem.compute);
      }
    for (int64_t tile = 0; tile < shape.rowTiles; ++tile) {
      WeightDecoder::Block block = decoder.open(
          words.slice((i * shape.rowTiles + tile) * decoder.numWords(),
                      decoder.numWords()));
      SmallVector<Values> partial;
      auto total = [&](int64_t at) {
        return MutableArrayRef<Value>(result).slice(
            4 * (tile * shape.tokenTiles + at), 4);
      };
      for (int64_t at = 0; at < shape.tokenTiles; ++at)
        partial.push_back(scaleSums ? zero : Values(total(at)));
      for (unsigned step = 0; step < kSteps; ++step) {
        Values a = decoder.fragment(block, step);
        for (auto [sum, pairs] : llvm::zip(partial, x))
          sum = b.mma(a, pairs[2 * step], pairs[2 * step + 1], sum,
                      problem.compute);
      }
      for (int64_t at = 0; at < shape.tokenTiles; ++at) {
        Values sum = partial[at];
        if (scaleSums)
          sum = decoder.addScaled(block, total(at), sum, inputSums[at]);
        llvm::copy(sum, total(at).begin());
      }
    }
  }
  return result;
}

/// Adds up the sums of the warps and writes y.
void Skinny::reduce(ValueRange sums) {
  int64_t fragments = shape.rowTiles * shape.tokenTiles;
  Value base = b.mul(b.add(b.mul(warp, fragments * kWarp), b.lane()), 16);
  for (int64_t i = 0; i < fragments; ++i) {
    Values bits;
    for (Value sum : sums.slice(4 * i, 4))
      bits.push_back(b.asBits(sum));
    b.storeShared(b.add(base, i * kWarp * 16), bits);
  }
  b.barrier();
  // Neighbouring threads have neighbouring rows of W, which are neighbours in
  // y.
  int64_t rows = shape.rowTiles * kBlockRows;
  int64_t outputs = rows * shape.tokenTiles * kTokens;
  if (!problem.experts)
    outputs = rows * std::min(problem.m, shape.tokenTiles * kTokens);
  b.loop(b.thread(), b.constant(outputs), shape.warps * kWarp, {},
         [&](Value output, ValueRange) -> Values {
           Value row = b.rem(output, rows), token = b.div(output, rows);
           Value fragment = b.add(b.mul(b.shiftRight(row, 4), shape.tokenTiles),
                                  b.shiftRight(token, 3));
           Value lane = b.add(b.mul(b.bitAnd(row, 7), 4),
                              b.shiftRight(b.bitAnd(token, 7), 1));
           Value word = b.add(b.mul(b.bitAnd(b.shiftRight(row, 3), 1), 2),
                              b.bitAnd(token, 1));
           Value place = b.mul(
               b.add(b.mul(b.add(b.mul(fragment, kWarp), lane), 4), word), 4);
           Value sum;
           for (int64_t i = 0; i < shape.warps; ++i) {
             Value part = b.asFloat(
                 b.loadShared(b.add(place, i * fragments * kWarp * 16), 1)[0]);
             sum = sum ? b.addFloat(sum, part) : part;
           }
           b.when(tokens.exists(token), [&] {
             storeOutput(b, problem, rows, tokens.row(token),
                         b.add(b.mul(firstTile, kBlockRows), row), sum);
           });
           return {};
         });
}

void Skinny::emit() {
  b.when(tokens.any(), [&] { emitBody(); });
}

void Skinny::emitBody() {
  decoder.select(tokens.expert());
  for (int64_t tile = 0; tile < shape.tokenTiles; ++tile)
    inputRows.push_back(
        tokens.row(b.add(b.shiftRight(b.lane(), 2), tile * kTokens)));
  warp = b.warp();
  firstTile = b.mul(b.block(), shape.rowTiles);
  int64_t step = shape.warps * shape.blocks;
  Values state(4 * shape.rowTiles * shape.tokenTiles, b.floatConstant(0));
  unsigned numSums = state.size();
  state.append(load(warp));
  // The same number of rounds for all warps; what is behind the last block adds
  // nothing.
  Values last = b.loop(b.constant(0), b.constant(columns), step, state,
                       [&](Value column, ValueRange now) {
                         Value first = b.add(column, warp);
                         Values next = load(b.add(first, step));
                         Values result =
                             multiply(first, now.drop_front(numSums),
                                      now.take_front(numSums));
                         result.append(next);
                         return result;
                       });
  reduce(ValueRange(last).take_front(numSums));
}

KernelLaunch kernels::emitSkinny(mlir::gpu::GPUModuleOp module,
                                 const LinearProblem &problem,
                                 const SkinnyShape &shape) {
  KernelLaunch launch;
  launch.kernel =
      kernelName("skinny", problem,
                 {shape.tokenTiles, shape.rowTiles, shape.warps, shape.blocks});
  launch.grid.x = ceilDiv(rowTiles(problem.n), shape.rowTiles);
  if (problem.experts)
    launch.grid.y = maxGroups(problem, shape.tokenTiles * kTokens);
  launch.block.x = shape.warps * kWarp;
  launch.sharedBytes =
      shape.warps * shape.rowTiles * shape.tokenTiles * kWarp * 16;
  launch.operands = weightOperands(problem);
  launch.operands.append({Operand::X, Operand::Y});
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder builder(module, launch.kernel, problem, launch.operands,
                        launch.block.x, /*blocksPerProcessor=*/1);
  Skinny(builder, problem, shape).emit();
  builder.finish();
  return launch;
}
