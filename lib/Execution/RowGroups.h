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

/// What a step of the loop over rows should be like.
struct RowTiling {
  /// Smaller ops are not worth a loop over tiles.
  int64_t minElements;
  /// Elements that one step should have at least, and at most where it may
  /// choose.
  int64_t wantedElements;
  /// What one step may keep of a member, and of all of them.
  int64_t maxRowBytes, maxBytes;
  /// Where nothing reduces, steps need not be whole rows, and an op by itself
  /// needs no loop.
  bool perPoint;
  /// Steps that a loop should have before they get larger than one row; 0: as
  /// many as there are.
  int64_t wantedSteps;
};

/// Finds groups of ops whose outer loops are the same and gives each group one
/// scf.forall over them: a softmax or a normalisation reads its row once, from
/// memory to cache, and keeps what is between its steps there. Single ops of
/// some size get a loop of their own, so that every kernel has one form.
mlir::LogicalResult tileRows(mlir::func::FuncOp entry, const RowTiling &tiling);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ROWGROUPS_H
