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
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"

namespace quantopt::lowbit {

/// An embedding: an elementwise op whose result [.., K] is row after row of a
/// float constant [N, K], each by an index that does not depend on the column.
struct TableGather {
  mlir::linalg::GenericOp op;
  mlir::tensor::ExtractOp read;

  mlir::arith::ConstantOp table() const;
};

/// gather -> lowbit.lookup of `weight`, which is of the shape of the table and
/// dominates the op. Indices are computed and asserted about as before.
void replaceByLookup(const TableGather &gather, mlir::Value weight);

/// A float matrix whose rows are picked by numbers.
struct Table {
  std::string name; ///< its resource key less ".weight"; empty if it has none
  /// All that read it, in any function; empty if they cannot be look-ups.
  llvm::SmallVector<TableGather> gathers;
  std::string whyNot; ///< then why
};

/// What reads the data of float constants, but for linears.
class TableReaders {
public:
  explicit TableReaders(mlir::ModuleOp module);

  /// One that reads the data of `constant`; null if there is none.
  mlir::Operation *find(mlir::arith::ConstantOp constant) const;
  /// The gathers that do, if there is nothing else and each reads it as [n, k].
  llvm::ArrayRef<TableGather> gathers(mlir::arith::ConstantOp constant,
                                      int64_t n, int64_t k) const;
  /// The matrices that no linear reads and `entry` reads row by row, in its
  /// order.
  std::vector<Table> tables(mlir::func::FuncOp entry) const;

private:
  struct Readers {
    mlir::Operation *first = nullptr;
    llvm::SmallVector<TableGather, 1> gathers;
    mlir::Operation *other = nullptr; ///< the first that is no gather
    bool hasLinear = false;
  };
  Table describe(mlir::tensor::ExtractOp read) const;

  llvm::DenseMap<mlir::Attribute, Readers> readers; // by data
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_TABLEGATHER_H
