//===- RuntimeCalls.h - Calls from compiled code to the runtime -*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_RUNTIMECALLS_H
#define QUANTOPT_LIB_EXECUTION_RUNTIMECALLS_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Execution/CompiledModule.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinOps.h"

namespace quantopt::execution {

/// How a FloatKind is passed to the runtime.
int64_t floatKindCode(mlir::Type element);

/// Functions, one for each pair of buffer types, that pass a host_linear to the
/// host. They take the id, x and y as buffers, so that the buffers are seen to
/// be in use until the call returns.
class HostLinearCalls {
public:
  explicit HostLinearCalls(mlir::ModuleOp module) : module(module) {}
  mlir::FlatSymbolRefAttr getCallee(lowbit::HostLinearOp op);

private:
  mlir::ModuleOp module;
  llvm::DenseMap<mlir::Type, mlir::FlatSymbolRefAttr> callees; // by signature
};

/// Replaces a marked contraction on buffers by a call of contract().
void lowerContraction(mlir::linalg::GenericOp op);

/// Addresses of everything that compiled code may call, by name.
llvm::ArrayRef<std::pair<llvm::StringRef, void *>> runtimeSymbols();

/// Bufferization of host_linear, for registerExecutionDialects().
void registerHostLinearInterface(mlir::DialectRegistry &registry);

/// What the calls of one run() need. Set for the thread that runs: kernels that
/// call back are never spread over threads.
struct RunState {
  LinearHandler *handler;
  std::string linearError;
  llvm::SmallVector<int64_t, 2> failedChecks;
};
extern thread_local RunState *currentRun;

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_RUNTIMECALLS_H
