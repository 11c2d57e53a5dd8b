//===- Passes.h - Passes that generate GPU code -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_GPU_PASSES_H
#define QUANTOPT_CODEGEN_GPU_PASSES_H

#include "quantopt/Codegen/GPU/LinearKernels.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace quantopt::kernels {

/// What the pass lowbit-to-gpu does, to all functions of `module`. `compute`:
/// nothing means the type of x, bf16 if that is f32.
mlir::LogicalResult lowerLinears(mlir::ModuleOp module, const Chip &chip,
                                 std::optional<FloatKind> compute);

/// The gpu.module that lowerLinears() puts kernels into.
inline constexpr llvm::StringLiteral kKernelsModule = "lowbit_kernels";

#define GEN_PASS_DECL
#include "quantopt/Codegen/GPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "quantopt/Codegen/GPU/Passes.h.inc"

} // namespace quantopt::kernels

#endif // QUANTOPT_CODEGEN_GPU_PASSES_H
