//===- QuantizeModule.h - The run of a quantizer ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEMODULE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEMODULE_H

#include "QuantizeOptions.h"

#include "quantopt/Calibration/Samples.h"

namespace quantopt::lowbit {

/// The samples to calibrate `entry` with, cut to the option samples; nullopt if
/// none are wanted.
mlir::FailureOr<std::optional<CalibrationSamples>>
findSamples(mlir::func::FuncOp entry, const QuantizeOptions &options);

/// The option threads, or one for each core.
unsigned numThreads(const QuantizeOptions &options);

/// What every quantizer pass does, under the name `method` in the report: plans
/// which layers are taken and how; runs the calibration samples through the
/// module if a layer needs them, quantizing each where they stand; rounds what
/// they did not reach; rewrites the module and writes the report. Failures are
/// diagnostics, and the module is then of no use.
mlir::LogicalResult quantizeModule(mlir::ModuleOp module,
                                   llvm::StringRef method,
                                   const QuantizeOptions &options);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEMODULE_H
