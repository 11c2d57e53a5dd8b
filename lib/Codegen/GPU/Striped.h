//===- Striped.h - Kernels that share row blocks ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block of threads multiplies some rows of W with some rows of x (tokens).
// The loop over k of all row blocks, one after the other, is cut into stripes
// of equal length, one for each block of threads, so that none is idle however
// many row blocks there are. Where to cut depends on the problem alone. A row
// block that several stripes share is written by the last of them to arrive; it
// adds the sums in the order of the stripes.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_GPU_STRIPED_H
#define QUANTOPT_LIB_CODEGEN_GPU_STRIPED_H

#include "Kernels.h"

namespace quantopt::kernels {

/// How the loop over the blocks of k of all row blocks is cut.
struct Stripes {
  Stripes(const LinearProblem &problem, const TileShape &shape);

  int64_t columns, rowBlocks, tokenBlocks, length, count;
  /// No row block is shared.
  bool whole() const { return length % columns == 0; }
};

class Striped {
public:
  Striped(KernelBuilder &builder, const LinearProblem &problem,
          const TileShape &shape, Scaling scaling);
  virtual ~Striped() = default;

  void emit();

protected:
  /// d fragments [rowTiles][tokens / 8] of blocks [first, last) of k of the
  /// current row block. No thread of the block uses shared memory any more when
  /// it returns.
  virtual Values sumColumns(Value first, Value last) = 0;

  /// Index of a row tile of the warp; one behind the last is read as the last,
  /// and not stored.
  Value rowTile(int64_t i);
  int64_t numSums() const { return 4 * shape.rowTiles * tokenTiles; }

  KernelBuilder &b;
  const LinearProblem &problem;
  TileShape shape;
  Stripes stripes;
  WeightDecoder decoder;
  TokenRows tokens;
  int64_t tokenTiles, stageBytes;
  Value warp;
  /// Of the current row block.
  Value firstTile;

private:
  void emitBody();
  void startRowBlock(Value rowBlock);
  void store(ValueRange sums);
  void share(Value rowBlock, Value stripe, ValueRange sums);
  Value slotAddress(Value slot);
};

/// How a striped kernel is launched; `kind` begins its name, `input` is where
/// it reads x.
KernelLaunch stripedLaunch(llvm::StringRef kind, const LinearProblem &problem,
                           const TileShape &shape, Operand input,
                           int64_t sharedBytes);

/// Emits kernel `KernelT`, a Striped, if it is not in the module.
template <typename KernelT>
KernelLaunch emitStriped(mlir::gpu::GPUModuleOp module, llvm::StringRef kind,
                         const LinearProblem &problem, const TileShape &shape,
                         Operand input, int64_t sharedBytes,
                         int64_t blocksPerProcessor) {
  KernelLaunch launch = stripedLaunch(kind, problem, shape, input, sharedBytes);
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder builder(module, launch.kernel, problem, launch.operands,
                        launch.block.x, blocksPerProcessor);
  KernelT(builder, problem, shape).emit();
  builder.finish();
  return launch;
}

} // namespace quantopt::kernels

#endif // QUANTOPT_LIB_CODEGEN_GPU_STRIPED_H
