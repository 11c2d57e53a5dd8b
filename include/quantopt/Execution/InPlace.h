//===- InPlace.h - Arguments that a function updates ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_INPLACE_H
#define QUANTOPT_EXECUTION_INPLACE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace quantopt {

/// On an argument: the number of the result that is its next value.
inline constexpr llvm::StringLiteral kInPlaceAttr = "lowbit.in_place";

/// An argument, such as a key/value cache, whose next value is a result.
struct InPlaceArgument {
  unsigned argument, result;
};

/// Those of `function`, in the order of its arguments. A number that names no
/// result, or one of another type, or one that is named twice, is a diagnostic.
mlir::FailureOr<llvm::SmallVector<InPlaceArgument>>
inPlaceArguments(mlir::func::FuncOp function);

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_INPLACE_H
