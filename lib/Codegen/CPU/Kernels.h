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

/// The function that fills a row of the workspace: (row of x, row of the
/// workspace).
mlir::func::FuncOp emitArrange(mlir::ModuleOp module,
                               const LinearProblem &problem);

/// A tile of y: rows of x times vectors of rows of W.
struct TileShape {
  int64_t rows, vectors;
  /// Sums are kept apart, so that one does not wait for the one before.
  int64_t split = 1;
  /// Whether codes are asked for some lines ahead of their use. A processor's
  /// own prefetcher is better where nothing but codes is read.
  bool prefetches = false;
  /// The last argument counts the rows of W that there are.
  bool masked = false;
  /// y is an f32 buffer of this tile alone, [rows][vectors], and whole.
  bool toBuffer = false;
};

/// The function that computes one: (row of the workspace, codes, scales,
/// offsets unless symmetric, y, and the count if masked).
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

/// Starts a private function of pointers, and of an i64 at the end if
/// `hasCount`, in `module`; null if it is there.
mlir::func::FuncOp startFunction(mlir::ModuleOp module, llvm::StringRef name,
                                 unsigned numPointers, bool hasCount);

/// What a scheme is called in names of functions.
std::string schemeName(const Scheme &scheme);

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_KERNELS_H
