//===- LinearOperands.h - What kernels of a linear are given ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_COMMON_LINEAROPERANDS_H
#define QUANTOPT_CODEGEN_COMMON_LINEAROPERANDS_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>

namespace quantopt::codegen {

/// The scheme of the algorithm library, if `attr` is one.
std::optional<Scheme> schemeOf(mlir::Attribute attr);

/// The constant with another shape, without a copy.
mlir::Attribute reshaped(mlir::ElementsAttr attr, mlir::RankedTensorType type);

/// A tensor with its leading dimensions as one: of rank 2 with the last
/// dimension kept, or of rank 1.
mlir::Value flatten(mlir::OpBuilder &builder, mlir::Value value, int64_t rank);

/// A matrix [m, n] as a tensor of `type`; dynamic leading sizes are those of
/// `like`.
mlir::Value unflatten(mlir::OpBuilder &builder, mlir::Value matrix,
                      mlir::RankedTensorType type, mlir::Value like);

/// Whether `next` can be multiplied in one call with `linear`, whose result is
/// the other rows of `next`: experts of one layer, with weights of one type.
bool continuesChain(lowbit::LinearOp linear, lowbit::LinearOp next);

/// Erases weights that nothing reads.
void eraseUnusedWeights(mlir::Operation *root);

} // namespace quantopt::codegen

#endif // QUANTOPT_CODEGEN_COMMON_LINEAROPERANDS_H
