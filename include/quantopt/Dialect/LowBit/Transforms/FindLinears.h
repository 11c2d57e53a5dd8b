//===- FindLinears.h - Recognise linear layers ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_FINDLINEARS_H
#define QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_FINDLINEARS_H

#include "mlir/IR/BuiltinOps.h"

namespace quantopt::lowbit {

struct FoundLinears {
  unsigned linears = 0; ///< rewritten to lowbit.linear
  unsigned refused = 0; ///< left, with the reason as lowbit.refused
};

/// Rewrites every contraction with a constant weight to lowbit.linear (see the
/// pass lowbit-find-linears). A second call finds nothing new. Fails, with a
/// diagnostic, only where a weight has to be transposed or cut into experts and
/// its data is missing.
mlir::FailureOr<FoundLinears> findLinears(mlir::ModuleOp module);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_FINDLINEARS_H
