//===- ExpertGather.h - Weights that an index picks per row -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Importers write a mixture of experts as a gather, weight[expert of the row],
// whose result has a matrix for each row, and a batched product of that with
// the rows.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTGATHER_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTGATHER_H

#include "ConstantView.h"

#include "mlir/IR/Builders.h"

namespace quantopt::lowbit {

/// A tensor that is read from a constant at an index computed at run time along
/// one dimension, that of the experts; seen through shape ops.
struct ExpertGather {
  mlir::Operation *op;  ///< linalg.generic or tensor.extract_slice
  int64_t experts;      ///< extent of that dimension
  int64_t expertStride; ///< its stride in the constant
  ConstantView weight;  ///< the tensor for expert 0; strides in the constant
  StridedView rows;     ///< the tensor; strides in the tensor of indices
  mlir::Value index;    ///< inside `op` where that has a body
  llvm::SmallVector<unsigned> rowLoops; ///< loops of `op` that `index` walks
};

/// Reads `value` so, or gives nothing.
std::optional<ExpertGather> traceExpertGather(mlir::Value value);

/// The expert of each row as i64, one dimension for each of `gather.rowLoops`.
/// Its computation is copied, and fails at run time on an index out of range.
mlir::Value emitExperts(mlir::OpBuilder &builder, const ExpertGather &gather);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_EXPERTGATHER_H
