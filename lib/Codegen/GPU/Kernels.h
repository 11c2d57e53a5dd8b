//===- Kernels.h - The kernels of a linear layer ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One file each. An emit function adds the kernel to the module, if it is not
// there, and returns how it is launched.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_GPU_KERNELS_H
#define QUANTOPT_LIB_CODEGEN_GPU_KERNELS_H

#include "KernelBuilder.h"
#include "WeightDecoder.h"

namespace quantopt::kernels {

inline constexpr int64_t kWarp = 32;
/// Tokens of one mma: the n of m16n8k16.
inline constexpr int64_t kTokens = 8;

/// Few rows of x: every warp streams weights and multiplies them at once;
/// the warps of a block share its rows of W and split k.
struct SkinnyShape {
  int64_t tokenTiles; ///< of 8
  int64_t rowTiles;   ///< of 16, of a warp
  int64_t warps;
  int64_t blocks; ///< of k, of a warp, loaded together
};
KernelLaunch emitSkinny(mlir::gpu::GPUModuleOp module,
                        const LinearProblem &problem, const SkinnyShape &shape);

/// For a mixture of experts: sorts the rows of x by expert into groups of up to
/// `tokens` rows. Operand::Groups: for each group expert, first place and count
/// (0 behind the last), then the rows in the order of the places.
KernelLaunch emitRoute(mlir::gpu::GPUModuleOp module,
                       const LinearProblem &problem, int64_t tokens);
/// Groups that there can be.
int64_t maxGroups(const LinearProblem &problem, int64_t tokens);

/// More rows of x: row blocks of W times blocks of tokens, x in a ring in
/// shared memory.
struct TileShape {
  int64_t tokens;   ///< of a block, a multiple of 8
  int64_t rowTiles; ///< of 16, of a warp
  int64_t warps;
  int64_t stages;  ///< of the ring
  int64_t stripes; ///< see Striped.h; about as many
  /// Blocks of k whose codes are on their way to registers (tiled).
  int64_t ahead = 1;
  /// W comes from Operand::Dense.
  bool dense = false;

  int64_t rows() const { return warps * rowTiles * fragment::kBlockRows; }
};
/// f32 of Operand::Partials and counters of Operand::Arrivals.
int64_t sharedSums(const LinearProblem &problem, const TileShape &shape);
int64_t sharedBlocks(const LinearProblem &problem, const TileShape &shape);

/// Makes Operand::Dense. For schemes that cost more to decode than the second
/// way through memory costs, if many tokens are going to be multiplied.
KernelLaunch emitDequantize(mlir::gpu::GPUModuleOp module,
                            const LinearProblem &problem);

/// With mma.sync.
KernelLaunch emitTiled(mlir::gpu::GPUModuleOp module,
                       const LinearProblem &problem, const TileShape &shape);
/// Whether its threads can copy x as it is: else it takes Operand::Arranged.
bool readsInputDirectly(const LinearProblem &problem);

/// With wgmma, on tiles of x: rowTiles is 1, warps a multiple of 4, tokens one
/// of 8.
KernelLaunch emitWarpgroup(mlir::gpu::GPUModuleOp module,
                           const LinearProblem &problem,
                           const TileShape &shape);

/// x in the type that is multiplied.
enum class Arrangement {
  Rows, ///< [m, k], k padded with zeros to whole blocks
  /// As wgmma reads it: [tokens / tile][k / 64] tiles of `tile` rows of 128
  /// bytes, in the order of fragment::position, with the 128-byte swizzle;
  /// padded with zeros in both directions.
  Tiles,
};
KernelLaunch emitArrange(mlir::gpu::GPUModuleOp module,
                         const LinearProblem &problem, Arrangement arrangement,
                         int64_t tileTokens);
int64_t arrangedBytes(const LinearProblem &problem, int64_t tileTokens);

/// A kernel's name says all that it is generated from.
std::string kernelName(llvm::StringRef kind, const LinearProblem &problem,
                       llvm::ArrayRef<int64_t> shape);

/// The name of one that sees x alone.
std::string inputKernelName(llvm::StringRef kind, const LinearProblem &problem,
                            int64_t tileTokens);

/// The operands that every kernel with weights takes first.
llvm::SmallVector<Operand> weightOperands(const LinearProblem &problem,
                                          bool dense = false);

/// Which rows of x, and of y, are the tokens of a block of threads.
class TokenRows {
public:
  /// `tokens` for each y of the grid: neighbours, or a group of
  /// Operand::Groups.
  TokenRows(KernelBuilder &builder, const LinearProblem &problem,
            int64_t tokens);

  /// Whether the block has token 0, 1, ...
  Value exists(Value token);
  /// Its row; any existing one, if the token does not exist.
  Value row(Value token);
  /// Index of the matrix W; null if there is one only.
  Value expert() { return group; }
  /// Whether the block has any tokens; null if it always has.
  Value any();

private:
  KernelBuilder &b;
  const LinearProblem &problem;
  int64_t tokens;
  Value group, first, count;
};

/// 16 neighbours of row `row` of x from `column` on, as eight pairs of the
/// compute type; 0 behind the last column, and where `condition` is false.
Values loadRun(KernelBuilder &builder, const LinearProblem &problem, Value row,
               Value column, Value condition);

/// Writes y[row of x][row of W], if the latter exists; blocks of threads have
/// `blockRows` of them.
void storeOutput(KernelBuilder &builder, const LinearProblem &problem,
                 int64_t blockRows, Value inputRow, Value weightRow,
                 Value number);

} // namespace quantopt::kernels

#endif // QUANTOPT_LIB_CODEGEN_GPU_KERNELS_H
