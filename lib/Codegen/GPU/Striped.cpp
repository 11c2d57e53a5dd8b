//===- Striped.cpp - Kernels that share row blocks ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Striped.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

/// A stripe is not worth its start if it is shorter.
static constexpr int64_t kShortest = 8;

Stripes::Stripes(const LinearProblem &problem, const TileShape &shape)
    : columns(columnBlocks(problem.k)),
      rowBlocks(ceilDiv(problem.n, shape.rows())),
      tokenBlocks(problem.experts ? maxGroups(problem, shape.tokens)
                                  : ceilDiv(problem.m, shape.tokens)),
      length(std::max(ceilDiv(columns * rowBlocks, shape.stripes),
                      std::min(columns, kShortest))),
      count(ceilDiv(columns * rowBlocks, length)) {}

Striped::Striped(KernelBuilder &builder, const LinearProblem &problem,
                 const TileShape &shape, Scaling scaling)
    : b(builder), problem(problem), shape(shape), stripes(problem, shape),
      decoder(builder, problem, scaling,
              /*reused=*/stripes.tokenBlocks > 1),
      tokens(builder, problem, shape.tokens),
      tokenTiles(shape.tokens / kTokens), stageBytes(shape.tokens * 128) {}

Value Striped::rowTile(int64_t i) {
  Value tile = b.add(firstTile, i);
  int64_t tiles = rowTiles(problem.n);
  if (tiles % (shape.rows() / kBlockRows) == 0)
    return tile;
  return b.select(b.less(tile, tiles), tile, b.constant(tiles - 1));
}

void Striped::store(ValueRange sums) {
  Value lane = b.opaque(b.lane());
  Value row = b.add(b.mul(firstTile, kBlockRows), b.shiftRight(lane, 2));
  Value token = b.mul(b.bitAnd(lane, 3), 2);
  for (int64_t at = 0; at < tokenTiles; ++at)
    for (int64_t next : {0, 1}) {
      Value own = b.add(token, at * kTokens + next);
      b.when(tokens.exists(own), [&] {
        Value inputRow = tokens.row(own);
        for (int64_t tile = 0; tile < shape.rowTiles; ++tile)
          for (int64_t half : {0, 1})
            storeOutput(b, problem, shape.rows(), inputRow,
                        b.add(row, tile * kBlockRows + 8 * half),
                        sums[4 * (tile * tokenTiles + at) + 2 * half + next]);
      });
    }
}

Value Striped::slotAddress(Value slot) {
  int64_t slotBytes = shape.rows() * shape.tokens * 4;
  Value all = b.advance(b.operand(Operand::Partials), b.blockY(),
                        2 * stripes.count * slotBytes);
  Value place =
      b.mul(b.add(b.mul(warp, numSums() / 4 * kWarp), b.opaque(b.lane())), 16);
  return b.advance(b.advance(all, slot, slotBytes), place);
}

/// A stripe has at most two row blocks that it shares, the first and the last
/// one, so two slots.
void Striped::share(Value rowBlock, Value stripe, ValueRange sums) {
  auto slotOf = [&](Value of) {
    Value firstBlock = b.div(b.mul(of, stripes.length), stripes.columns);
    return b.add(b.mul(of, 2), b.select(b.less(firstBlock, rowBlock),
                                        b.constant(1), b.constant(0)));
  };
  Value own = slotAddress(slotOf(stripe));
  for (int64_t i = 0; i < numSums(); i += 4) {
    Values bits;
    for (Value sum : sums.slice(i, 4))
      bits.push_back(b.asBits(sum));
    b.storeWords(b.advance(own, b.constant(i / 4 * kWarp * 16)), bits);
  }
  Value begin = b.mul(rowBlock, stripes.columns);
  Value firstStripe = b.div(begin, stripes.length);
  Value lastStripe = b.div(b.add(begin, stripes.columns - 1), stripes.length);
  b.fence();
  b.barrier();
  Value arrivals =
      b.advance(b.operand(Operand::Arrivals),
                b.add(b.mul(b.blockY(), stripes.rowBlocks), rowBlock), 4);
  b.when(b.equal(b.thread(), 0), [&] {
    Value before = b.countUp(arrivals);
    b.fence();
    b.storeShared(b.constant(0), before);
  });
  b.barrier();
  Value before = b.loadShared(b.constant(0), 1)[0];
  b.barrier();
  Value isLast = b.same(before, b.sub(lastStripe, firstStripe));
  b.when(isLast, [&] {
    b.fence();
    Values zero(numSums(), b.floatConstant(0));
    Values total = b.loop(
        firstStripe, b.add(lastStripe, 1), 1, zero,
        [&](Value from, ValueRange now) {
          Value address = slotAddress(slotOf(from));
          Values result;
          for (int64_t i = 0; i < numSums(); i += 4) {
            Values words = b.loadShareable(
                b.advance(address, b.constant(i / 4 * kWarp * 16)), 4);
            for (int64_t j = 0; j < 4; ++j)
              result.push_back(b.addFloat(now[i + j], b.asFloat(words[j])));
          }
          return result;
        });
    store(total);
    b.when(b.equal(b.thread(), 0),
           [&] { b.storeWords(arrivals, b.constant(0)); });
  });
}

void Striped::startRowBlock(Value rowBlock) {
  firstTile = b.add(b.mul(rowBlock, shape.rows() / kBlockRows),
                    b.mul(warp, shape.rowTiles));
}

void Striped::emit() {
  b.when(tokens.any(), [&] { emitBody(); });
}

void Striped::emitBody() {
  decoder.select(tokens.expert());
  warp = b.warp();
  Value stripe = b.block();

  if (stripes.length == stripes.columns) {
    startRowBlock(stripe);
    // A short loop would be unrolled as a whole, with all its loads at once.
    store(sumColumns(b.constant(0), b.opaque(b.constant(stripes.columns))));
    return;
  }
  Value begin = b.mul(stripe, stripes.length);
  Value end = b.add(begin, stripes.length);
  int64_t all = stripes.columns * stripes.rowBlocks;
  if (all % stripes.length != 0)
    end = b.select(b.less(end, all), end, b.constant(all));
  Value lastBlock = b.div(b.add(end, -1), stripes.columns);
  b.loop(b.div(begin, stripes.columns), b.add(lastBlock, 1), 1, {},
         [&](Value rowBlock, ValueRange) -> Values {
           Value start = b.mul(rowBlock, stripes.columns);
           Value first = b.select(b.less(start, begin), b.sub(begin, start),
                                  b.constant(0));
           Value stop = b.sub(end, start);
           Value last = b.select(b.less(stop, stripes.columns), stop,
                                 b.constant(stripes.columns));
           startRowBlock(rowBlock);
           Values sums = sumColumns(first, last);
           if (stripes.whole()) {
             store(sums);
             return {};
           }
           Value shared = b.less(b.sub(last, first), stripes.columns);
           b.either(
               shared,
               [&]() -> Values {
                 share(rowBlock, stripe, sums);
                 return {};
               },
               [&]() -> Values {
                 store(sums);
                 return {};
               });
           return {};
         });
}

int64_t kernels::sharedSums(const LinearProblem &problem,
                            const TileShape &shape) {
  Stripes stripes(problem, shape);
  if (stripes.whole())
    return 0;
  return 2 * stripes.count * stripes.tokenBlocks * shape.rows() * shape.tokens;
}

int64_t kernels::sharedBlocks(const LinearProblem &problem,
                              const TileShape &shape) {
  Stripes stripes(problem, shape);
  return stripes.whole() ? 0 : stripes.rowBlocks * stripes.tokenBlocks;
}

KernelLaunch kernels::stripedLaunch(StringRef kind,
                                    const LinearProblem &problem,
                                    const TileShape &shape, Operand input,
                                    int64_t sharedBytes) {
  Stripes stripes(problem, shape);
  KernelLaunch launch;
  launch.kernel =
      kernelName(shape.dense ? (kind + "_dense").str() : kind.str(), problem,
                 {shape.tokens, shape.rowTiles, shape.warps, shape.stages,
                  shape.ahead, shape.stripes});
  launch.grid = {stripes.count, stripes.tokenBlocks, 1};
  launch.block.x = shape.warps * kWarp;
  launch.sharedBytes = sharedBytes;
  launch.operands = weightOperands(problem, shape.dense);
  launch.operands.append({input, Operand::Y});
  if (!stripes.whole())
    launch.operands.append({Operand::Partials, Operand::Arrivals});
  return launch;
}
