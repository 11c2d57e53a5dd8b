//===- DryRun.h - What a run would do ---------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_DRYRUN_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_DRYRUN_H

#include "Estimate.h"

namespace quantopt::lowbit {

/// Prints, and writes to the file of the option report as JSON, what `run`
/// would do with every layer and what it is expected to need. The weights of
/// the module stay as they are; `run` is used up.
mlir::LogicalResult dryRun(mlir::ModuleOp module, QuantizationRun &run,
                           const CalibrationSamples *samples, unsigned threads);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_DRYRUN_H
