//===- LinearRun.h - A linear layer compiled and run ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_UNITTESTS_CODEGENCPU_LINEARRUN_H
#define QUANTOPT_UNITTESTS_CODEGENCPU_LINEARRUN_H

#include "quantopt/Codegen/CPU/LinearKernels.h"

#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/MLIRContext.h"

#include <memory>
#include <span>

namespace quantopt::cpu {

/// What this processor has.
Target hostTarget();

/// A problem's function as code of this process.
class CompiledLinear {
public:
  /// `context` is that of the problem's epilogues.
  explicit CompiledLinear(const LinearProblem &problem,
                          std::shared_ptr<mlir::MLIRContext> context =
                              std::make_shared<mlir::MLIRContext>());
  /// `buffers` in the order of linearType, `m` rows of x. Empty where it could
  /// not be compiled.
  void run(std::span<void *const> buffers, int64_t m) const;

private:
  std::shared_ptr<mlir::MLIRContext> context;
  std::unique_ptr<mlir::ExecutionEngine> engine;
  void (*function)(void **) = nullptr;
  llvm::SmallVector<llvm::SmallVector<int64_t>> shapes;
};

} // namespace quantopt::cpu

#endif // QUANTOPT_UNITTESTS_CODEGENCPU_LINEARRUN_H
