//===- TableGather.h - Rows of constants picked by indices ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_TABLEGATHER_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_TABLEGATHER_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"

namespace quantopt::lowbit {

/// An embedding: an elementwise op whose result [.., K] is row after row of a
/// float constant [N, K], each by an index that does not depend on the column.
struct TableGather {
  mlir::linalg::GenericOp op;
  mlir::tensor::ExtractOp read;
  mlir::arith::ConstantOp table;
};

/// What `read` belongs to, if that is all that its op does.
std::optional<TableGather> matchTableGather(mlir::tensor::ExtractOp read);

/// gather -> lowbit.lookup of `weight`, which is of the shape of the table and
/// dominates the op. Indices are computed and asserted about as before.
void replaceByLookup(const TableGather &gather, mlir::Value weight);

/// What reads the data of float constants, but for linears.
class TableReaders {
public:
  explicit TableReaders(mlir::ModuleOp module);

  /// One that reads the data of `constant`; null if there is none.
  mlir::Operation *find(mlir::arith::ConstantOp constant) const;
  /// The gathers that do, if there is nothing else and each reads it as [n, k].
  llvm::ArrayRef<TableGather> gathers(mlir::arith::ConstantOp constant,
                                      int64_t n, int64_t k) const;
  /// The same, for one who replaces them: the next one gets nothing.
  llvm::SmallVector<TableGather> take(mlir::arith::ConstantOp constant,
                                      int64_t n, int64_t k);

private:
  struct Readers {
    mlir::Operation *first = nullptr;
    llvm::SmallVector<TableGather, 1> gathers;
    bool others = false;
  };
  llvm::DenseMap<mlir::Attribute, Readers> readers; // by data
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_TABLEGATHER_H
