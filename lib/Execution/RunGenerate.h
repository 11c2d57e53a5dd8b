//===- RunGenerate.h - quant-run --generate ---------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_RUNGENERATE_H
#define QUANTOPT_LIB_EXECUTION_RUNGENERATE_H

#include "quantopt/Execution/Generate.h"

#include "llvm/Support/JSON.h"

namespace quantopt::execution {

/// Prompts as the command line gives them: an .npy file of integers, [n] or
/// [prompts, n]; or numbers separated by commas, prompts by semicolons.
llvm::Expected<std::vector<std::vector<int64_t>>>
readPrompts(llvm::StringRef text);

/// Generates and prints each token on a line of its own, as soon as it is
/// known, with the number of its prompt before it if there are several; times
/// go to stderr. Does it all `repeat` times, but prints once; times are of the
/// fastest. Returns what was measured.
mlir::FailureOr<llvm::json::Object>
runGenerate(CompiledModule &prefill, CompiledModule &decode,
            llvm::ArrayRef<std::vector<int64_t>> prompts,
            const GenerateOptions &options, unsigned repeat,
            mlir::Location location);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_RUNGENERATE_H
