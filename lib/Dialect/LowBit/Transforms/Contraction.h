//===- Contraction.h - A contraction as a matrix product --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H

#include "ConstantView.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::lowbit {

/// Whether `op` is a sum of products of two tensors.
bool isContraction(mlir::linalg::LinalgOp op);

/// A contraction with a constant operand, read as y = x * W^T.
struct ConstantContraction {
  unsigned inputIndex = 0; ///< which operand is x
  ConstantView weight;     ///< its shape is {n extents..., k extents...}
  int64_t n = 1, k = 1;    ///< products of those extents
  llvm::SmallVector<unsigned> mLoops, nLoops, kLoops; ///< loops of the op
  /// Per dimension of x, and of the output: the loop that indexes it, or
  /// nullopt for a dimension of extent 1.
  llvm::SmallVector<std::optional<unsigned>> inputLoops, outputLoops;
};

/// Reads `op`, or says in `why` what keeps it from being a linear layer.
std::optional<ConstantContraction> analyzeContraction(mlir::linalg::LinalgOp op,
                                                      std::string &why);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONTRACTION_H
