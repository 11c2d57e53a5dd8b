//===- KernelParts.h - What kernels are made of -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_KERNELPARTS_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_KERNELPARTS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace quantopt::execution {

inline constexpr int64_t warpSize = 32;

/// Shared memory of a kernel, aligned for vectors.
mlir::Value addSharedMemory(mlir::gpu::GPUFuncOp kernel, mlir::Location loc,
                            llvm::ArrayRef<int64_t> shape, mlir::Type element);

/// The position in a space of these sizes of its element number `linear`, the
/// last dimension running fastest.
llvm::SmallVector<mlir::Value> delinearize(mlir::OpBuilder &builder,
                                           mlir::Location loc,
                                           mlir::Value linear,
                                           llvm::ArrayRef<int64_t> sizes);

/// The value that the lane `lane xor distance` has: any number up to 64 bits.
/// All lanes of the warp take part.
mlir::Value shuffleXor(mlir::OpBuilder &builder, mlir::Location loc,
                       mlir::Value value, int64_t distance);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_KERNELPARTS_H
