//===- LinearShapes.h - Contractions in a linear's shape --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LINEARSHAPES_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LINEARSHAPES_H

#include "Contraction.h"

namespace quantopt::lowbit {

/// x of `op` as [leading..., K]: summed dimensions moved to the end and merged.
/// `leadingLoops` become the loops of its other dimensions. Null if dynamic
/// dimensions would have to be reshaped.
mlir::Value
normalizeInput(mlir::OpBuilder &builder, mlir::linalg::LinalgOp op,
               const ConstantContraction &contraction,
               llvm::SmallVectorImpl<std::optional<unsigned>> &leadingLoops);

/// The result [leading..., N] of the linear in `type`, that of the contraction;
/// null as above.
mlir::Value denormalizeResult(mlir::OpBuilder &builder, mlir::Location loc,
                              mlir::Value result, mlir::RankedTensorType type,
                              const ConstantContraction &contraction);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LINEARSHAPES_H
