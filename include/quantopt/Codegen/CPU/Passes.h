//===- Passes.h - Passes that generate CPU code -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_CPU_PASSES_H
#define QUANTOPT_CODEGEN_CPU_PASSES_H

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Pass/Pass.h"

namespace quantopt::cpu {

/// Linears with quantized weights become calls of kernels, those that read the
/// same x in one call. `linears` are those that canLower(). Weights are packed
/// if they are not; those that nothing reads any more stay. The kernels are
/// declared in `module`; emitLinear makes them from the problems, which are
/// returned.
mlir::FailureOr<llvm::SmallVector<LinearProblem>>
lowerLinears(mlir::ModuleOp module, llvm::ArrayRef<lowbit::LinearOp> linears,
             const Target &target, const Products &products);

/// Empty if there are kernels for the linear, else the reason why not.
std::string canLower(lowbit::LinearOp linear, const Target &target,
                     const Products &products);

#define GEN_PASS_DECL
#include "quantopt/Codegen/CPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "quantopt/Codegen/CPU/Passes.h.inc"

} // namespace quantopt::cpu

#endif // QUANTOPT_CODEGEN_CPU_PASSES_H
