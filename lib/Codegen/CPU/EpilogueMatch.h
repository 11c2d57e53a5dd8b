//===- EpilogueMatch.h - What follows linears -------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_EPILOGUEMATCH_H
#define QUANTOPT_LIB_CODEGEN_CPU_EPILOGUEMATCH_H

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace quantopt::cpu {

/// An elementwise op that reads linears, and nothing else does.
struct EpilogueMatch {
  Epilogue epilogue;
  mlir::linalg::GenericOp op;
  /// Of the op's loops, those that go over rows of x; the rest are columns.
  unsigned numRowLoops;
  llvm::SmallVector<mlir::Value> operands; ///< of epilogue.operands
};

/// The op before which the group's call has to stand: the first that reads a
/// result. Null if nothing does.
mlir::Operation *firstUser(llvm::ArrayRef<lowbit::LinearOp> group);

/// Epilogues of linears [m, n] that read one x. What they read beside the
/// linears is there before firstUser().
llvm::SmallVector<EpilogueMatch>
matchEpilogues(llvm::ArrayRef<lowbit::LinearOp> group);

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_EPILOGUEMATCH_H
