//===- Kernels.h - The parts of a linear layer's function -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_KERNELS_H
#define QUANTOPT_LIB_CODEGEN_CPU_KERNELS_H

#include "KernelBuilder.h"
#include "VectorTarget.h"

#include "quantopt/Packing/LineOrder.h"

namespace quantopt::cpu {

/// How the sum over k is cut: a segment has one scale of W a row, and of x.
/// Either whole blocks of line::kBlockK, or a part of a block; the last segment
/// is padded with zeros to a whole block.
struct Segments {
  int64_t k, length, group;

  /// For a scheme that has kernels; see segmentLength.
  Segments(const LinearProblem &problem, const Scheme &scheme);

  bool hasWholeBlocks() const { return length % line::kBlockK == 0; }
  int64_t blocks() const { return length / line::kBlockK; }
  int64_t perBlock() const { return line::kBlockK / length; }
  /// Segments that hold nothing but columns of x.
  int64_t numFull() const { return k / length; }
  /// Blocks of the short segment at the end, if they are whole blocks.
  int64_t tailBlocks() const {
    return line::columnBlocks(k) - numFull() * blocks();
  }
  int64_t count() const {
    return hasWholeBlocks() ? line::ceilDiv(k, length)
                            : line::columnBlocks(k) * perBlock();
  }
  int64_t numGroups() const { return line::ceilDiv(k, group); }
};

/// 0 if there are no kernels for groups of that length.
int64_t segmentLength(const LinearProblem &problem, const Scheme &scheme);

/// x as it is multiplied: for each row the scales [segments] (I8), the sums
/// of bytes as i32 (I8) and the sums of its numbers as f32, each [segments],
/// then the words; all in bytes from the begin of the row.
struct InputLayout {
  int64_t sums, realSums, words, rowBytes;
  int64_t wordsPerBlock; ///< 32-bit words of line::kBlockK columns

  InputLayout(const Segments &segments, Compute compute);
};

/// Bytes of a row of x in the workspace.
int64_t inputRowBytes(const LinearProblem &problem);

/// Fills `rows` rows of the workspace, on all threads if that is worth it;
/// `source` says which row of x is which.
void arrangeRows(KernelBuilder &builder, mlir::ModuleOp module,
                 const LinearProblem &problem, Value x, Value workspace,
                 Value rows, llvm::function_ref<Value(Value)> source);

/// Addresses of the planes of a weight; no offsets if it is symmetric.
struct WeightPlanes {
  Value codes, scales, offsets;

  /// From the next arguments of a function on buffers.
  static WeightPlanes take(KernelBuilder &builder, const LinearWeight &weight,
                           mlir::Block::args_iterator &next);
  /// Those of expert `index`, where these are of the first.
  WeightPlanes ofExpert(KernelBuilder &builder, const LinearProblem &problem,
                        const LinearWeight &weight, Value index) const;
  /// From vector `first` of rows of W on, as a tile takes them.
  void appendFrom(KernelBuilder &builder, const LinearProblem &problem,
                  const LinearWeight &weight, Value first,
                  Values &arguments) const;
};

/// Tiles of one size, one after the other.
struct RowTiles {
  int64_t rows;
  /// ShapedType::kDynamic: as many as there are rows left for.
  int64_t count;
  int64_t split;       ///< of TileShape
  bool matrix = false; ///< of TileShape
};
/// The tiles that a number of rows is computed with.
struct TileChoice {
  int64_t vectors;
  bool prefetches;
  llvm::SmallVector<RowTiles, 4> tiles;
  /// So many at most go past a few panels of W before others do.
  int64_t tilesPerBlock;
};
/// For ShapedType::kDynamic, rows that are counted when the function runs.
TileChoice chooseTiles(const LinearProblem &problem, int64_t rows);

/// Rows that are cut into tiles, and these into blocks of the same size.
struct RowBlocks {
  Value numTiles, count; ///< i64

  RowBlocks(KernelBuilder &builder, const TileChoice &choice, Value rows);

  /// Tiles [begin, end) of a block.
  std::pair<Value, Value> tiles(KernelBuilder &builder, Value block) const;
};

/// Tiles [begin, end) of `rows`: `tile` gets the first row of each.
void forTiles(KernelBuilder &builder, const TileChoice &choice, Value rows,
              std::pair<Value, Value> range,
              llvm::function_ref<void(Value, const RowTiles &)> tile);

/// What threads share: panels of `vectors` vectors of rows of W, then single
/// ones that are left, of which the last may have fewer rows.
struct Panels {
  int64_t vectors, numWhole, numRest;

  Panels(const LinearProblem &problem, const LinearWeight &weight,
         const TileChoice &choice);

  int64_t count() const { return numWhole + numRest; }
  /// Emits both kinds for panel `index`, of which one is run, or none if it is
  /// not below count(): `panel` gets its first vector, and whether rows are to
  /// be masked.
  void visit(KernelBuilder &builder, Value index,
             llvm::function_ref<void(Value, bool)> panel) const;
};

/// A tile of y: rows of x times vectors of rows of W.
struct TileShape {
  int64_t rows, vectors;
  /// Sums are kept apart, so that one does not wait for the one before.
  int64_t split = 1;
  /// Whether codes are asked for some lines ahead of their use.
  bool prefetches = false;
  /// The last argument counts the rows of W that there are.
  bool masked = false;
  /// y is an f32 buffer of this tile alone, [rows][vectors], and whole.
  bool toBuffer = false;
  /// The argument behind y says which row of it each row of the tile is.
  bool scattered = false;
  /// Sums are in matrix registers; below their 16 rows or a multiple of them.
  bool matrix = false;
};

/// The function that computes one: (row of the workspace, codes, scales,
/// offsets unless symmetric, y, numbers of rows as i64 if scattered, and the
/// count if masked).
mlir::func::FuncOp emitTile(mlir::ModuleOp module, const LinearProblem &problem,
                            const LinearWeight &weight, const TileShape &shape);

/// The function that computes the tiles of all weights of an epilogue and
/// writes what it makes of them: (row of the workspace; codes, scales, offsets
/// unless symmetric of each weight; operands; y; and the count if masked). An
/// operand's pointer is at the tile's first element.
mlir::func::FuncOp emitFinishedTile(mlir::ModuleOp module,
                                    const LinearProblem &problem,
                                    const Epilogue &epilogue,
                                    const TileShape &shape);

/// What an epilogue is called in names of functions.
std::string epilogueName(const Epilogue &epilogue);

/// Adds the body of the function of experts.
void emitExperts(mlir::ModuleOp module, const LinearProblem &problem,
                 mlir::func::FuncOp function);

/// Starts a private function of pointers, and of an i64 at the end if
/// `hasCount`, in `module`; null if it is there.
mlir::func::FuncOp startFunction(mlir::ModuleOp module, llvm::StringRef name,
                                 unsigned numPointers, bool hasCount);

/// What a scheme is called in names of functions.
std::string schemeName(const Scheme &scheme);

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_KERNELS_H
