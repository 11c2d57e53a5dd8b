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

/// Parallel loops -> OpenMP, with what upstream's conversion leaves to be done:
/// stack buffers are made once a thread, before its loop, and a loop that ends
/// its region does not wait for the other threads twice.
mlir::LogicalResult lowerParallelLoops(mlir::ModuleOp module);

} // namespace quantopt::cpu

#endif // QUANTOPT_CODEGEN_CPU_LOWERING_H
