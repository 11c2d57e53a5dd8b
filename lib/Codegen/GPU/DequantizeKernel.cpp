//===- DequantizeKernel.cpp - W in the type that is multiplied ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

/// A warp does one block of 16 x 64.
static constexpr int64_t kWarps = 8;

KernelLaunch kernels::emitDequantize(mlir::gpu::GPUModuleOp module,
                                     const LinearProblem &problem) {
  KernelLaunch launch;
  launch.kernel = kernelName("dequantize", problem, {});
  int64_t columns = columnBlocks(problem.k);
  int64_t blocks = rowTiles(problem.n) * columns;
  launch.grid.x = ceilDiv(blocks, kWarps);
  launch.block.x = kWarps * kWarp;
  launch.operands = weightOperands(problem);
  launch.operands.push_back(Operand::Dense);
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder b(module, launch.kernel, problem, launch.operands,
                  launch.block.x, /*blocksPerProcessor=*/1);
  WeightDecoder decoder(b, problem, Scaling::Weights, /*reused=*/false);
  Value index = b.add(b.mul(b.block(), kWarps), b.warp());
  b.when(b.less(index, blocks), [&] {
    Values words =
        decoder.load(b.div(index, columns), b.rem(index, columns), Value());
    WeightDecoder::Block block = decoder.open(words);
    Value offset = b.add(b.mul(index, kDenseBlockBytes), b.mul(b.lane(), 16));
    for (int64_t step = 0; step < kSteps; ++step)
      b.storeWords(b.advance(b.operand(Operand::Dense),
                             b.add(offset, step * kLanes * 16)),
                   decoder.fragment(block, step));
  });
  b.finish();
  return launch;
}
