//===- Object.h - CPU code as an object file --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_CPU_OBJECT_H
#define QUANTOPT_CODEGEN_CPU_OBJECT_H

#include "quantopt/Codegen/CPU/LinearKernels.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

#include <memory>

namespace quantopt::cpu {

/// A machine for position-independent code: this host if `triple` is empty,
/// else the processor `cpu` ("" for the oldest) of that triple, with
/// `features` ("+avx2,...") added. An error if LLVM has no such back end.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createMachine(llvm::StringRef triple = "", llvm::StringRef cpu = "",
              llvm::StringRef features = "");

/// What kernels for the machine may use.
Target targetOf(const llvm::TargetMachine &machine);

/// Optimises and writes a module of the LLVM dialect as an object file.
llvm::Error writeObject(mlir::ModuleOp module, llvm::TargetMachine &machine,
                        llvm::raw_pwrite_stream &os);

/// The same of a module of LLVM IR.
llvm::Error writeObject(llvm::Module &module, llvm::TargetMachine &machine,
                        llvm::raw_pwrite_stream &os);

} // namespace quantopt::cpu

#endif // QUANTOPT_CODEGEN_CPU_OBJECT_H
