//===- Lowering.h - CPU kernels to the LLVM dialect -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_CPU_LOWERING_H
#define QUANTOPT_CODEGEN_CPU_LOWERING_H

#include "mlir/IR/BuiltinOps.h"

namespace quantopt::cpu {

/// Registers what kernels consist of and what lowerToLLVM makes of it, with the
/// translation to LLVM IR.
void registerLowering(mlir::DialectRegistry &registry);

/// Functions on buffers with loops -> the LLVM dialect; parallel loops become
/// OpenMP. Buffers are passed as descriptors, or, where all shapes are static,
/// as plain pointers.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp module,
                                bool barePointers = false);

/// The conversion to OpenMP wraps each loop body in a scope for its stack
/// buffers; that has no lowering once the body has several blocks. The buffers
/// are made once a thread instead, before its loop.
void removeStackScopes(mlir::ModuleOp module);

} // namespace quantopt::cpu

#endif // QUANTOPT_CODEGEN_CPU_LOWERING_H
