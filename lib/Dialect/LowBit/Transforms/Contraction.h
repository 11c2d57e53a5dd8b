//===- Contraction.h - A contraction as a matrix product --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H

#include "ExpertGather.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::lowbit {

/// Whether `op` is a sum of products of two tensors.
bool isContraction(mlir::linalg::LinalgOp op);

/// Which matrix of the constant each row is multiplied by.
struct ExpertChoice {
  /// The dimensions of the constant that number the experts, row-major.
  llvm::SmallVector<int64_t> shape, strides;
  /// Loops of the contraction and how far a step of each moves: in the expert,
  /// or with a gather in its tensor of indices.
  llvm::SmallVector<std::pair<unsigned, int64_t>> steps;
  std::optional<ExpertGather> gather;

  int64_t count() const { return mlir::ShapedType::getNumElements(shape); }
  /// Where in the constant `expert` begins, seen from the first.
  int64_t offset(int64_t expert) const;
};

/// A contraction with a constant operand, read as y = x * W^T.
struct ConstantContraction {
  unsigned inputIndex = 0; ///< which operand is x
  ConstantView weight;     ///< its shape is {n extents..., k extents...}
  int64_t n = 1, k = 1;    ///< products of those extents
  llvm::SmallVector<unsigned> mLoops, nLoops, kLoops; ///< loops of the op
  /// Per dimension of x, and of the output: the loop that indexes it, or
  /// nullopt for a dimension of extent 1. Loops of the output that x lacks
  /// repeat it.
  llvm::SmallVector<std::optional<unsigned>> inputLoops, outputLoops;
  /// Set if rows have weights of their own; `weight` is that of expert 0.
  std::optional<ExpertChoice> experts;
};

/// Reads `op`, or says in `why` what keeps it from being a linear layer.
std::optional<ConstantContraction> analyzeContraction(mlir::linalg::LinalgOp op,
                                                      std::string &why);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H
