//===- Serialize.h - A GPU module as PTX ------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_GPU_SERIALIZE_H
#define QUANTOPT_CODEGEN_GPU_SERIALIZE_H

#include "quantopt/Codegen/GPU/LinearKernels.h"

namespace mlir {
class OpPassManager;
}

namespace quantopt::kernels {

/// The dialects and translations that lowering needs.
void registerSerialization(mlir::DialectRegistry &registry);

/// The target attribute of kernels for `chip`.
mlir::Attribute targetAttr(mlir::MLIRContext *context, const Chip &chip);

/// Lowers the functions of `module` (gpu, scf, arith, memref) in place to
/// NVVM; buffers are passed as bare pointers.
mlir::LogicalResult lowerToNvvm(mlir::gpu::GPUModuleOp module);

/// The passes that lowerToNvvm() runs on a gpu.module.
void addPassesToNvvm(mlir::OpPassManager &passes);

/// PTX of a lowered module that has one target.
mlir::FailureOr<std::string> toPtx(mlir::gpu::GPUModuleOp module);

} // namespace quantopt::kernels

#endif // QUANTOPT_CODEGEN_GPU_SERIALIZE_H
