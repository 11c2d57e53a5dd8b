//===- RowGroups.h - Ops that go over the same rows -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_ROWGROUPS_H
#define QUANTOPT_LIB_EXECUTION_ROWGROUPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace quantopt::execution {

/// Finds groups of ops whose outer loops are the same and gives each group one
/// scf.forall over them: a softmax or a normalisation reads its row once, from
/// memory to cache, and keeps what is between its steps there. Single ops of
/// some size get a loop of their own, so that every kernel has one form.
mlir::LogicalResult tileRows(mlir::func::FuncOp entry);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ROWGROUPS_H
