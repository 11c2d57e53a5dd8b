//===- Experts.h - Contractions whose rows choose their weight --*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTS_H

#include "Contraction.h"

namespace quantopt::lowbit {

/// The same contraction with a loop for each dimension of the gathered weight
/// where a reshape merged experts and outputs: [T, 2, N, K] read as
/// [T, 2 * N, K]. Else `op` itself.
mlir::linalg::LinalgOp splitMergedExperts(mlir::linalg::LinalgOp op);

/// The expert of each row of `input` [leading..., K], as i64 [leading...].
/// `leadingLoops` are the loops of the contraction along its dimensions.
mlir::Value emitRouting(mlir::OpBuilder &builder, mlir::Location loc,
                        const ExpertChoice &experts, mlir::Value input,
                        llvm::ArrayRef<std::optional<unsigned>> leadingLoops);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTS_H
