//===- DeviceStages.h - The stages that a GPU needs besides -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// In this order, after outlineKernels().
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_DEVICESTAGES_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_DEVICESTAGES_H

#include "Stages.h"

namespace quantopt::execution {

/// Kernels become gpu.func, and calls of them launches. A failed check is
/// noted in a buffer, which becomes the last argument of the entry.
mlir::LogicalResult emitDeviceKernels(Compilation &compilation);

/// Every gpu.module -> a gpu.binary of PTX, which is in compilation.ptx too.
mlir::LogicalResult generatePtx(Compilation &compilation);

/// Frees buffers after their last use; launches, and what else the entry does
/// with device memory, become calls of the runtime.
mlir::LogicalResult lowerLaunches(Compilation &compilation);

/// Functions of the math dialect -> arithmetic that a GPU has, accurate to a
/// few units in the last place.
mlir::LogicalResult expandDeviceMath(mlir::Operation *kernels);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_DEVICESTAGES_H
