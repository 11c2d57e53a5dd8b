//===- ArrangeKernel.cpp - Activations as the next kernel reads them ------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Converts x to the type that is multiplied, pads it, and puts it into the
// order that bulk copies and tensor cores want. x is small beside the weights
// and read by every block, so it is worth doing once.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

static constexpr int64_t kThreads = 256;
static constexpr int64_t kRun = 16; ///< elements that a thread moves

int64_t kernels::arrangedBytes(const LinearProblem &problem,
                               int64_t tileTokens) {
  int64_t tokens = ceilDiv(problem.m, tileTokens) * tileTokens;
  return tokens * columnBlocks(problem.k) * kBlockK * 2;
}

KernelLaunch kernels::emitArrange(mlir::gpu::GPUModuleOp module,
                                  const LinearProblem &problem,
                                  Arrangement arrangement, int64_t tileTokens) {
  bool tiles = arrangement == Arrangement::Tiles;
  KernelLaunch launch;
  // Of the weights only k matters.
  launch.kernel = inputKernelName(tiles ? "arrange_tiles" : "arrange_rows",
                                  problem, tileTokens);
  int64_t columns = columnBlocks(problem.k), runs = columns * kBlockK / kRun;
  int64_t tokens = ceilDiv(problem.m, tileTokens) * tileTokens;
  launch.grid.x = ceilDiv(tokens * runs, kThreads);
  launch.block.x = kThreads;
  launch.operands = {Operand::X, Operand::Arranged};
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder b(module, launch.kernel, problem, launch.operands, kThreads,
                  /*blocksPerProcessor=*/1);

  Value index = b.add(b.mul(b.block(), kThreads), b.thread());
  b.when(b.less(index, tokens * runs), [&] {
    Value token = b.div(index, runs), run = b.rem(index, runs);
    Value exists;
    if (tokens != problem.m)
      exists = b.less(token, problem.m);
    Values pairs = loadRun(b, problem, token, b.mul(run, kRun), exists);
    Value to = b.operand(Operand::Arranged);
    if (!tiles) {
      to = b.advance(to, index, 2 * kRun);
      b.storeWords(to, ValueRange(pairs).take_front(4));
      b.storeWords(b.advance(to, b.constant(16)),
                   ValueRange(pairs).drop_front(4));
      return;
    }
    Value tile =
        b.add(b.mul(b.div(token, tileTokens), columns), b.shiftRight(run, 2));
    Value row = b.rem(token, tileTokens);
    to = b.advance(b.advance(to, tile, tileTokens * kBlockK * 2), row, 128);
    // A run is one lane's share of a block: its pairs go to eight chunks of 16
    // bytes.
    Value inChunk = b.mul(b.bitAnd(run, 3), 4);
    for (int64_t chunk = 0; chunk < 8; ++chunk) {
      Value place = b.bitXor(b.bitAnd(row, 7), b.constant(chunk));
      b.storeWords(b.advance(to, b.add(b.mul(place, 16), inChunk)),
                   pairs[chunk]);
    }
  });
  b.finish();
  return launch;
}
