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

/// The experts that one host_experts calls, in turn.
struct ExpertCalls {
  std::vector<int64_t> experts, ids; // of one length
};

/// Functions, one for each set of buffer types, that pass a host_linear or a
/// host_experts to the host. They take a number and buffers: the id, x, the
/// residual if there is one, and y; or the index of the ExpertCalls, x, the
/// routing and y. So the buffers are seen to be in use until the call returns.
class HostFunctions {
public:
  explicit HostFunctions(mlir::ModuleOp module) : module(module) {}
  mlir::FlatSymbolRefAttr getCallee(lowbit::HostLinearOp op);
  mlir::FlatSymbolRefAttr getCallee(lowbit::HostExpertsOp op);

private:
  mlir::FlatSymbolRefAttr getCallee(mlir::Location loc,
                                    llvm::StringRef runtimeName, mlir::Value x,
                                    mlir::Value beside, mlir::Value y);

  mlir::ModuleOp module;
  llvm::DenseMap<mlir::Type, mlir::FlatSymbolRefAttr> callees; // by signature
};

/// Replaces a marked contraction on buffers by a call of contract().
void lowerContraction(mlir::linalg::GenericOp op);

/// Addresses of everything that compiled code may call, by name.
llvm::ArrayRef<std::pair<llvm::StringRef, void *>> runtimeSymbols();

/// Bufferization of host_linear and host_experts, for
/// registerExecutionDialects().
void registerHostInterfaces(mlir::DialectRegistry &registry);

/// What the calls of one run() need. Set for the thread that runs: kernels that
/// call back are never spread over threads.
struct RunState {
  LinearHandler *handler;
  llvm::ArrayRef<ExpertCalls> expertCalls;
  std::string linearError;
  llvm::SmallVector<int64_t, 2> failedChecks;
};
extern thread_local RunState *currentRun;

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_RUNTIMECALLS_H
