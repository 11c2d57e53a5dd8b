//===- ObjectFile.h - A module as an object file and a header ---*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_OBJECTFILE_H
#define QUANTOPT_EXECUTION_OBJECTFILE_H

#include "quantopt/Codegen/CPU/LinearKernels.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace quantopt {

struct ObjectOptions {
  /// Functions to compile; empty: all public ones that have a body.
  std::vector<std::string> entries = {};
  /// As LLVM and clang spell them. Without a triple: this host, with everything
  /// it can do; with one: its oldest processor, unless `cpu` names another.
  std::string triple = {}, cpu = {}, features = {};
  /// How quantized linears multiply; in f32 where the processor lacks bf16.
  cpu::Products products = {};
};

/// Compiles functions of `module`, which take and return tensors of static
/// shape, and writes PATH.o, PATH.h (which says how it is used) and
/// PATH.weights, each whole or not at all. The object needs libc, libm and
/// LLVM's OpenMP runtime. Symbols begin with the last part of `path`, which
/// must be an identifier of C. Failures are diagnostics.
mlir::LogicalResult writeObjectFiles(mlir::ModuleOp module,
                                     llvm::StringRef path,
                                     const ObjectOptions &options = {});

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_OBJECTFILE_H
