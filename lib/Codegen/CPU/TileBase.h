//===- TileBase.h - What all kernels of tiles do ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_TILEBASE_H
#define QUANTOPT_LIB_CODEGEN_CPU_TILEBASE_H

#include "CodeDecoder.h"

namespace quantopt::cpu {

/// The arguments of a tile's function, the scales of its rows of W, and how its
/// totals are written, whatever multiplies.
class TileBase {
public:
  TileBase(KernelBuilder &builder, mlir::func::FuncOp function,
           const LinearProblem &problem, const LinearWeight &weight,
           const TileShape &shape);

protected:
  bool isBytes() const { return problem.products.compute == Compute::I8; }
  bool isSymmetric() const { return scheme.zero == ZeroKind::Symmetric; }
  int64_t vectorsPerTile() const { return line::kBlockRows / lanes; }

  /// Address of a vector's part of a plane that has `tileBytes` for 16 rows.
  Value vectorAddress(Value plane, int64_t vector, int64_t tileBytes,
                      int64_t laneBytes);
  /// The lines of a block of each vector, at `codes`; lines behind them are
  /// asked for if the tile does so at all.
  llvm::SmallVector<CodeDecoder::Block> blocksAt(Value codes, bool prefetches);
  /// Entry `index` of the array at `base` of a row of x; `rows` is the address
  /// of row 0.
  Value inputScalar(Type type, Value rows, int64_t row, int64_t base,
                    Value index);
  /// What the middle of unsigned codes takes away from the sum of a segment,
  /// for each unit of the sum of its bytes of x.
  int64_t biasPerSum() const;

  /// Of the rows of W for a segment of k, for each vector.
  struct Scales {
    Values scale, offset; ///< no offsets if the scheme is symmetric
  };
  Scales loadScales(Value segment);
  /// What a row of x has for a segment, in all lanes.
  struct InputScales {
    Value scale; ///< null unless x is in bytes
    Value sum;   ///< null if the scheme is symmetric
  };
  InputScales loadInputScales(Value rows, int64_t row, Value segment);
  /// total + what the sums of a segment stand for.
  Value addScaled(Value total, Value sums, const Scales &scales, int64_t vector,
                  const InputScales &input);

  /// Where row `row` of the tile (i64) is written.
  Value outputRow(Value row);
  void storeTotal(Value total, Value outputRow, int64_t vector);

  KernelBuilder &b;
  const LinearProblem &problem;
  const Scheme &scheme;
  const int64_t n;
  const TileShape &shape;
  const VectorTarget target;
  const int64_t lanes;
  const Segments segments;
  const InputLayout layout;
  CodeDecoder decoder;
  const mlir::VectorType floats, sumType;
  Value input, codes, scales, offsets, output, rowNumbers, count;
};

/// The body of a tile whose sums are in vector registers, or in those of AMX.
void emitVectorTile(KernelBuilder &builder, mlir::func::FuncOp function,
                    const LinearProblem &problem, const LinearWeight &weight,
                    const TileShape &shape);
void emitMatrixTile(KernelBuilder &builder, mlir::func::FuncOp function,
                    const LinearProblem &problem, const LinearWeight &weight,
                    const TileShape &shape);

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_TILEBASE_H
